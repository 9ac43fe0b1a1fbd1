package manifest

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// What viz counts for ServiceLevelObjectives outlives its container, and with a claim in the
// volume's place its pod, too.
const (
	dataVolume     = "data"
	dataDir        = "/data"
	objectivesFile = dataDir + "/objectives"
)

// dataLimit is more than twice what a full book takes (slo.Keep).
var dataLimit = resource.MustParse("512Mi")

func mountData(pod *corev1.PodSpec) {
	pod.Volumes = append(pod.Volumes, corev1.Volume{Name: dataVolume,
		VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{
			SizeLimit: &dataLimit}}})
	first := &pod.Containers[0]
	first.VolumeMounts = append(first.VolumeMounts,
		corev1.VolumeMount{Name: dataVolume, MountPath: dataDir})
}
