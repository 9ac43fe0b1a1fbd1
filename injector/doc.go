// Package injector puts the proxy into pods.
//
// One function decides: Plan looks at a pod template and answers either a Change or the reason to
// leave the pod alone. A Change is then written in the form that the asker needs: on the typed
// template (Apply), as a JSON patch (the webhook), or spliced into YAML or JSON text (InjectText,
// `meshctl inject`), where every byte that is not ours stays as it was. UninjectText is the
// inverse: it gives back the very input. Both check their own work before they return it (what many
// workloads get alike, once), and refuse a text that they could only change by touching something
// else (a pod spec behind an alias, say) with its line.
//
// Why a native sidecar (an init container with restartPolicy Always, Kubernetes 1.29 and later): it
// starts before the application's own init containers, so that these are meshed as well; it ends
// after the application; and a Job with one completes. The order is redirect, proxy, then the
// application's own. Redirection needs root and NET_ADMIN once, so Pod Security below `privileged`
// refuses the pod.
//
// A Namespace document gets the label tulle.dev/inject, not an annotation, since an API server
// selects namespaces for a webhook by label only.
//
// Run is the webhook's server. It owns its HTTP server, the renewal of its certificate, and the
// loop that keeps the caBundle of its own webhook configuration equal to the trust roots; it
// returns when they have all ended. It refuses to look at anything but pods, keeps no secret, and
// reads nothing of the cluster but the namespace of the pod it is asked about.
package injector
