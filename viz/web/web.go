// Package web is the page: a few files of HTML, CSS and JavaScript as the browser gets them,
// without a build step and without anything from elsewhere.
//
// The scripts are native modules. main.js is the frame: address, keys, and which view is shown; a
// file in views/ is a view, or a part that several views have; graph.js, chart.js and table.js
// draw, picture.js makes a file of the graph, difference.js judges; api.js asks viz and says when
// it does not answer. All text comes in as text nodes, never as HTML, so that a label is never more
// than a label.
//
// It refuses to answer anything of the mesh: that is viz's API. It owns no goroutine.
package web

import (
	"embed"
	"io/fs"
	"net/http"
	"strings"

	"github.com/tulle-mesh/tulle/viz/gate"
)

//go:embed static
var files embed.FS

// views are the paths at which the page shows something; the script reads which.
var views = []string{"/{$}", "/graph", "/workloads", "/services", "/workload/{rest...}",
	"/service/{rest...}", "/canary", "/canary/{rest...}", "/objectives", "/identities", "/live",
	"/traces", "/traces/{rest...}", "/limits"}

// Handler serves the page.
func Handler() http.Handler {
	static, err := fs.Sub(files, "static")
	if err != nil {
		panic(err) // the folder is embedded
	}
	mux := http.NewServeMux()
	mux.Handle("GET /static/", http.StripPrefix("/static", noFolders(http.FileServerFS(static))))
	for _, path := range views {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			http.ServeFileFS(w, r, static, "index.html")
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", gate.Policy)
		w.Header().Set("Referrer-Policy", "no-referrer")
		mux.ServeHTTP(w, r)
	})
}

// noFolders serves files, and no lists of them.
func noFolders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/") {
			http.NotFound(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}
