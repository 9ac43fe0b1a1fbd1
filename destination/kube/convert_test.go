package kube

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// What a pod is an instance of is told from its owner, and of a run of a CronJob from the run's
// name.
func TestWhatAPodIsPartOf(t *testing.T) {
	created := time.Date(2026, 11, 30, 1, 2, 3, 0, time.UTC) // minute 29933342
	for _, c := range []struct {
		kind, owner, hash string
		want              string
	}{
		{"", "", "", "pod/p"},
		{"ReplicaSet", "web-5d4f", "5d4f", "deployment/web"},
		{"ReplicaSet", "web-5d4f", "", "replicaset/web-5d4f"},
		{"StatefulSet", "db", "", "statefulset/db"},
		{"Node", "n1", "", "pod/p"},
		{"Job", "backup-29933342", "", "cronjob/backup"},
		{"Job", "backup-29933343", "", "cronjob/backup"}, // clocks differ
		{"Job", "nightly-backup-29932000", "", "cronjob/nightly-backup"},
		{"Job", "backup-29931000", "", "job/backup-29931000"},
		{"Job", "backup-29940000", "", "job/backup-29940000"},
		{"Job", "backup-1", "", "job/backup-1"},
		{"Job", "backup", "", "job/backup"},
		{"Job", "29933342", "", "job/29933342"},
		{"Job", "backup-29933342x", "", "job/backup-29933342x"},
		{"StatefulSet", "db-29933342", "", "statefulset/db-29933342"},
	} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Name: "p", CreationTimestamp: metav1.NewTime(created), Labels: map[string]string{},
		}}
		if c.hash != "" {
			pod.Labels[labelTemplateHash] = c.hash
		}
		if c.kind != "" {
			yes := true
			pod.OwnerReferences = []metav1.OwnerReference{
				{Kind: c.kind, Name: c.owner, Controller: &yes},
			}
		}
		w := convertPod(pod)
		if got := w.Kind + "/" + w.Owner; got != c.want {
			t.Errorf("%s %s: %s, want %s", c.kind, c.owner, got, c.want)
		}
	}
}

// A probe's path is the one that the kubelet asks for, which makes a URL of it.
func TestProbesAreAsTheKubeletAsks(t *testing.T) {
	for path, want := range map[string]string{
		"": "/", "/": "/", "/ready": "/ready", "ready": "/ready", "start?x=1": "/start",
		"/ready?x=1#y": "/ready", "?x=1": "/", "/a b": "/a%20b", "/a%20b": "/a%20b",
		"/ä": "/%C3%A4", "/a//b/": "/a//b/", "/%zz": "/%25zz",
	} {
		get := &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(80)}
		probes := Workload(corev1.PodSpec{Containers: []corev1.Container{{
			ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: get}},
		}}}).Probes
		if len(probes) != 1 || probes[0].Path != want || probes[0].Port != 80 {
			t.Errorf("%q: %v, want %s", path, probes, want)
		}
	}
}
