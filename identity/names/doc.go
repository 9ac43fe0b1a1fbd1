// Package names spells once what several packages must spell alike: what the mesh and its parts are
// called on the outside. A name that one package alone uses stays in that package, and the names of
// ports, environment variables and ALPN protocols, which the proxy owns, are in proxy/config.
//
// It holds constants, imports nothing, and decides nothing.
package names
