package cli

import (
	"log/slog"
	"os"
	"strings"
)

// resolvConf is where the kubelet writes what a pod's resolver searches.
const resolvConf = "/etc/resolv.conf"

// checkDomain warns of a cluster whose Services have their names in another domain: no proxy finds
// its server then. Where names of both are served, nothing is wrong.
func (f *serverFlags) checkDomain(log *slog.Logger) {
	text, err := os.ReadFile(resolvConf)
	if err != nil {
		return // whoever cannot resolve says so
	}
	if domain := searchedDomain(string(text)); domain != "" && domain != f.clusterDomain {
		log.Warn("the cluster's DNS domain seems to be another: install with --cluster-domain="+
			domain, "cluster_domain", f.clusterDomain, "resolver", domain)
	}
}

// searchedDomain is the domain in which a resolver looks for Services, as the kubelet writes it
// ("search shop.svc.cluster.local svc.cluster.local cluster.local"); "" for none.
func searchedDomain(conf string) (domain string) {
	for line := range strings.Lines(conf) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != "search" {
			continue
		}
		domain = "" // the last such line counts (resolv.conf(5))
		for _, name := range fields[1:] {
			if d, ok := strings.CutPrefix(name, "svc."); ok && domain == "" {
				domain = strings.TrimSuffix(d, ".")
			}
		}
	}
	return domain
}
