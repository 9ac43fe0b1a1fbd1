// Package top is the live page of `meshctl viz top`: rows of traffic that can be sorted, filtered,
// paused and drilled into.
//
// model.go holds the state and what messages do to it, keys.go what keys do, column.go which
// columns there are and view.go the drawing. Everything but Run is a function of the state, so
// tests need no terminal. Which rows are shown is viz's Filter, which the page has, too.
//
// It only asks viz and shows the answer; it refuses to compute a figure of its own. Run ends when
// the user quits or its context ends, gives the terminal back, and leaves no goroutine.
//
// The table is drawn here and not by charm's bubbles: its table has a cursor by index, which would
// jump whenever an answer reorders the rows, one style for all cells, and columns with a title and
// a width only, where these align, shorten their text in their own way and give way on a narrow
// page.
package top
