package manifest

import (
	corev1 "k8s.io/api/core/v1"
)

// Consul is what destination reads beside Kubernetes; nothing without an address. What is secret is
// in Secrets, which the user makes: they are mounted, so that destination needs no right to read
// any.
type Consul struct {
	Address, Namespace, Datacenter string
	TokenSecret, CASecret          string // empty: no token; the system's roots
}

// Keys of the Secrets.
const (
	ConsulTokenKey = "token"
	ConsulCAKey    = "ca.crt"
)

// mounted is a Secret of which one key is a file.
type mounted struct{ volume, secret, dir, key, flag string }

func (c Consul) secrets() (out []mounted) {
	for _, m := range []mounted{
		{"consul-token", c.TokenSecret, "/etc/consul-token", ConsulTokenKey, "consul-token-file"},
		{"consul-ca", c.CASecret, "/etc/consul-ca", ConsulCAKey, "consul-ca-file"},
	} {
		if m.secret != "" {
			out = append(out, m)
		}
	}
	return out
}

func (c Consul) args() (args []string) {
	if c.Address == "" {
		return nil
	}
	args = []string{"--consul-address=" + c.Address, "--consul-namespace=" + c.Namespace}
	if c.Datacenter != "" {
		args = append(args, "--consul-datacenter="+c.Datacenter)
	}
	for _, m := range c.secrets() {
		args = append(args, "--"+m.flag+"="+m.dir+"/"+m.key)
	}
	return args
}

// mount gives a pod's first container the Secrets.
func (c Consul) mount(pod *corev1.PodSpec) {
	for _, m := range c.secrets() {
		pod.Volumes = append(pod.Volumes, corev1.Volume{Name: m.volume,
			VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
				SecretName: m.secret, DefaultMode: ptr(int32(0o440)),
				Items: []corev1.KeyToPath{{Key: m.key, Path: m.key}},
			}}})
		first := &pod.Containers[0]
		first.VolumeMounts = append(first.VolumeMounts, corev1.VolumeMount{
			Name: m.volume, MountPath: m.dir, ReadOnly: true})
	}
}
