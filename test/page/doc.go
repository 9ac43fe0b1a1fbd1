// Package page is the page's test in a real browser. It is a module of its own, so that the mesh
// does not depend on a browser's protocol. `make page` builds what it runs.
package page
