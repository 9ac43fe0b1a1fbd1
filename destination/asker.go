package destination

import (
	"fmt"

	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/identity/spiffe"
)

// Asker is for whom a Diagnosis was made, as the mesh knows it.
type Asker struct {
	Namespace string `json:"namespace"`
	Pod       string `json:"pod,omitempty"`
	Kind      string `json:"kind,omitempty"` // of its workload: "deployment"
	Name      string `json:"name,omitempty"`
	// Identity is the SPIFFE ID that its proxy proves; empty: it has no proxy, or nobody said who
	// it is.
	Identity string `json:"identity,omitempty"`
	Meshed   bool   `json:"meshed"`
	Node     string `json:"node,omitempty"`
	Zone     string `json:"zone,omitempty"`
	Region   string `json:"region,omitempty"`
}

// whose says who asks: a pod, or one of a workload's, or a service account. Nobody in the namespace
// is a caller, too.
type whose struct {
	namespace, pod string
	kind, workload string // "deployment", "web"
	account        string
}

// asker finds who is meant, and what a stream of its proxy would be asked as.
func (v *view) asker(who whose) (caller, *Asker, error) {
	c, out := caller{namespace: who.namespace}, &Asker{Namespace: who.namespace}
	switch {
	case who.pod != "":
		c.pod = who.pod // a pod that is not known yet asks as its namespace
		if w := v.Workload(registry.Name{Namespace: who.namespace, Name: who.pod}); w != nil {
			return c, v.askerOf(w, &c), nil
		}
	case who.workload != "":
		all := v.Instances(who.namespace, who.kind, who.workload)
		if len(all) == 0 {
			return c, nil, fmt.Errorf("no running pod of %s/%s is known in namespace %s", who.kind,
				who.workload, who.namespace)
		}
		c.pod = all[0].Name
		return c, v.askerOf(all[0], &c), nil
	case who.account != "":
		id, err := spiffe.ForWorkload(v.mesh.TrustDomain, who.namespace, who.account)
		if err != nil {
			return c, nil, err
		}
		out.Meshed, out.Identity = true, id.String()
	}
	return c, out, nil
}

func (v *view) askerOf(w *registry.Workload, c *caller) *Asker {
	c.runsAs(v, w)
	out := &Asker{Namespace: w.Namespace, Pod: w.Name, Kind: w.Kind, Name: w.Owner,
		Meshed: v.isMeshed(w, 0), Node: c.node, Zone: c.zone, Region: c.region}
	if id, err := spiffe.ForWorkload(v.mesh.TrustDomain, w.Namespace,
		w.ServiceAccount); err == nil && out.Meshed {
		out.Identity = id.String()
	}
	return out
}
