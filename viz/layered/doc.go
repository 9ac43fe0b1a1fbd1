// Package layered finds places for the nodes of a directed graph, so that calls run from left to
// right, lines cross seldom, and what has been seen once stays where it was.
//
// The files follow the stages: layers (how far to the right), rows (how far down, within a group's
// lane), draw (lanes below each other, and lines). Memory keeps what was drawn: an edge that comes
// or goes moves no node, and a node that comes moves others only where it has no room. The graph is
// laid out anew only when what is remembered would let many more calls run backwards.
//
// No library of the field keeps places from one drawing to the next, and those that run without a
// JavaScript engine or Graphviz in WebAssembly are unfinished or gone; therefore this is our own,
// as small as it can be: layers by longest path, order by barycentres, rows by isotonic regression.
//
// It refuses nothing: edges to nodes that are not there, and from a node to itself, are left out.
// Coordinates have no unit: a column for each layer, and a row at least for each node in it.
package layered
