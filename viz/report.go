package viz

import (
	"regexp"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/viz/api"
)

// What one report may hold.
const (
	// a proxy folds what is beyond 1,000 into one "other" series per direction
	MaxSeriesPerProxy = 1024
	// a SPIFFE ID of ours: a trust domain, a namespace of 63 bytes and an account of 253
	MaxLabelLength   = 512
	MaxStartIDLength = 64      // a UUID has 36 characters
	maxCounter       = 1 << 53 // beyond it JSON loses digits, and a sum over a mesh could overflow
	maxUptime        = 100 * 365 * 24 * time.Hour
)

// reporter is who a stream comes from, as its certificate says.
type reporter struct {
	id, namespace, account, pod string
}

// report is a checked ReportRequest.
type report struct {
	startID  string
	sequence uint64
	uptime   time.Duration
	version  string
	workload workload
	series   []incoming
	ended    []uint32 // series that the proxy has forgotten
	dropped  uint64
	expiry   time.Time
	held     held
}

// incoming is one series of a report; labels are nil where the proxy sent them before.
type incoming struct {
	id     uint32
	labels *labels
	sample sample
	open   uint64

	ejected, endpoints uint32
	exemplar           *exemplar // nil: there is none
}

// checkReport turns a message into a report, or says why it is refused. It changes nothing.
func checkReport(who reporter, m *api.ReportRequest) (*report, error) {
	w, err := checkWorkload(who, m.Workload)
	if err != nil {
		return nil, err
	}
	if err := checkProcess(m); err != nil {
		return nil, err
	}
	r := &report{
		startID: m.StartId, sequence: m.Sequence,
		uptime: time.Duration(m.UptimeMs) * time.Millisecond, version: printable(m.Version),
		workload: w, ended: m.Ended, dropped: m.DroppedSeries,
		expiry: time.Unix(m.CertificateExpiryUnix, 0),
		held: held{printable(m.ConfigRevision), time.Duration(m.ConfigAgeMs) * time.Millisecond,
			m.ConfigConnected},
		series: make([]incoming, 0, len(m.Series)),
	}
	seen := make(map[uint32]bool, len(m.Series))
	for _, s := range m.Series {
		if seen[s.GetId()] {
			return nil, status.Errorf(codes.InvalidArgument, "series %d is in the report twice",
				s.GetId())
		}
		seen[s.GetId()] = true
		in, err := checkSeries(who, s)
		if err != nil {
			return nil, err
		}
		r.series = append(r.series, in)
	}
	for _, id := range m.Ended {
		if seen[id] {
			return nil, status.Errorf(codes.InvalidArgument,
				"series %d is said to have ended, and reported", id)
		}
	}
	return r, nil
}

// checkWorkload holds what a proxy says of itself against its certificate. The workload's name is a
// claim that destination made to the proxy and that only needs to be plausible: Kubernetes names a
// workload's pods after it.
func checkWorkload(who reporter, w *api.Workload) (workload, error) {
	if who.pod == "" {
		return workload{}, status.Errorf(codes.PermissionDenied,
			"the certificate of %s names no pod, so a report cannot be told from another pod's",
			who.id)
	}
	if w.GetNamespace() == "" && w.GetName() == "" && w.GetPod() == "" {
		// destination has not answered yet
		return workload{who.namespace, "pod", who.pod, who.pod}, nil
	}
	if w.GetNamespace() != who.namespace {
		return workload{}, status.Errorf(codes.PermissionDenied,
			"the report is for namespace %q, the certificate for %q", w.GetNamespace(),
			who.namespace)
	}
	if w.GetPod() != who.pod {
		return workload{}, status.Errorf(codes.PermissionDenied,
			"the report is for pod %q, the certificate for %q", w.GetPod(), who.pod)
	}
	if !mayBelong(who.pod, w.GetKind(), w.GetName()) {
		return workload{}, status.Errorf(codes.PermissionDenied,
			"the report is for workload %q, to which pod %q cannot belong", w.GetName(), who.pod)
	}
	if len(w.Kind) > MaxLabelLength {
		return workload{}, status.Errorf(codes.InvalidArgument,
			"the workload's kind has %d bytes: the limit is %d", len(w.Kind), MaxLabelLength)
	}
	return workloadOf(w), nil
}

// mayBelong reports whether a pod can be of a workload by its name: Kubernetes calls it after the
// workload, with one ending for each owner between. Else web-canary's pods could pass for web's. Of
// kinds that Kubernetes does not know, and of a name that was cut to fit, only the beginning is
// known. It is plausible, and no proof: whoever may name a pod may call it so.
func mayBelong(pod, kind, workload string) bool {
	if workload == pod {
		return true
	}
	ending, ok := strings.CutPrefix(pod, workload+"-")
	if !ok || workload == "" {
		return false
	}
	pattern := endings[strings.ToLower(kind)]
	return pattern == nil || len(pod) == longestPod || pattern.MatchString(ending)
}

// longestPod is the length of a name to which nothing more can be added.
const longestPod = 63

// endings are what pods of a kind have behind its name. A Deployment's has a hash without vowels,
// if any (k8s.io/apimachinery/pkg/util/rand); a CronJob's the number of the run.
var endings = map[string]*regexp.Regexp{
	"deployment":            regexp.MustCompile(`^([b-df-hj-np-tv-xz0-9]+-)?[a-z0-9]+$`),
	"replicaset":            regexp.MustCompile(`^[a-z0-9]+$`),
	"replicationcontroller": regexp.MustCompile(`^[a-z0-9]+$`),
	"daemonset":             regexp.MustCompile(`^[a-z0-9]+$`),
	"statefulset":           regexp.MustCompile(`^[0-9]+$`),
	"job":                   regexp.MustCompile(`^([0-9]+-)?[a-z0-9]+$`),
	"cronjob":               regexp.MustCompile(`^[0-9]+-([0-9]+-)?[a-z0-9]+$`),
}

func checkProcess(m *api.ReportRequest) error {
	if m.StartId == "" || len(m.StartId) > MaxStartIDLength {
		return status.Errorf(codes.InvalidArgument, "start_id has %d bytes: want 1 to %d",
			len(m.StartId), MaxStartIDLength)
	}
	if len(m.Version) > MaxLabelLength {
		return status.Errorf(codes.InvalidArgument, "version has %d bytes: the limit is %d",
			len(m.Version), MaxLabelLength)
	}
	if len(m.ConfigRevision) > MaxStartIDLength {
		return status.Errorf(codes.InvalidArgument, "config_revision has %d bytes: the limit is %d",
			len(m.ConfigRevision), MaxStartIDLength)
	}
	if m.ConfigAgeMs > uint64(maxUptime/time.Millisecond) {
		return status.Errorf(codes.InvalidArgument, "config_age_ms %d is no age", m.ConfigAgeMs)
	}
	if m.UptimeMs > uint64(maxUptime/time.Millisecond) {
		return status.Errorf(codes.InvalidArgument, "uptime_ms %d is no uptime", m.UptimeMs)
	}
	if len(m.Ended) > MaxSeriesPerProxy {
		return status.Errorf(codes.ResourceExhausted,
			"the report ends %d series: the limit is %d", len(m.Ended), MaxSeriesPerProxy)
	}
	if len(m.Series) > MaxSeriesPerProxy {
		return status.Errorf(codes.ResourceExhausted, "the report has %d series: the limit is %d",
			len(m.Series), MaxSeriesPerProxy)
	}
	return nil
}

func checkSeries(who reporter, s *api.Series) (incoming, error) {
	if s == nil {
		return incoming{}, status.Error(codes.InvalidArgument, "the report has an empty series")
	}
	if err := checkBuckets(s); err != nil {
		return incoming{}, err
	}
	in := incoming{id: s.Id, sample: sampleOf(s), open: min(s.ConnectionsOpen, mostOpen),
		endpoints: uint32(min(s.Endpoints, mostEndpoints))}
	in.ejected = uint32(min(s.Ejected, uint64(in.endpoints)))
	in.exemplar = exemplarOf(s.Exemplar)
	for i, v := range append(in.sample.counters[:], s.ConnectionsOpen) {
		if v > maxCounter {
			return incoming{}, status.Errorf(
				codes.InvalidArgument, "series %d: counter %d is %d: the limit is 2^53", s.Id, i, v)
		}
	}
	if s.Labels == nil {
		return in, nil
	}
	l := labelsOf(s.Labels)
	if err := checkLabels(who, &l); err != nil {
		return incoming{}, status.Errorf(status.Code(err), "series %d: %s", s.Id,
			status.Convert(err).Message())
	}
	in.labels = &l
	return in, nil
}

func checkBuckets(s *api.Series) error {
	if len(s.Bucket) != len(s.BucketCount) {
		return status.Errorf(codes.InvalidArgument, "series %d: %d bucket indexes and %d counts",
			s.Id, len(s.Bucket), len(s.BucketCount))
	}
	for i, index := range s.Bucket {
		if index >= metric.Buckets {
			return status.Errorf(codes.InvalidArgument,
				"series %d: bucket %d is outside the scheme of %d buckets", s.Id, index,
				metric.Buckets)
		}
		if i > 0 && index <= s.Bucket[i-1] {
			return status.Errorf(codes.InvalidArgument,
				"series %d: bucket indexes do not ascend at %d", s.Id, index)
		}
		if s.BucketCount[i] > maxCounter {
			return status.Errorf(codes.InvalidArgument,
				"series %d: bucket %d counts %d: the limit is 2^53", s.Id, index, s.BucketCount[i])
		}
	}
	return nil
}

// checkLabels holds what is said of a request against who says it.
func checkLabels(who reporter, l *labels) error {
	if !l.inbound() && !l.outbound() {
		return status.Errorf(codes.InvalidArgument, "no direction that this viz knows (%d)",
			l.direction)
	}
	if _, known := securityNames[l.security]; !known &&
		l.security != api.Security_SECURITY_UNSPECIFIED {
		return status.Errorf(codes.InvalidArgument, "a security that this viz does not know (%d)",
			l.security)
	}
	if l.ownID != "" && l.ownID != who.id {
		return status.Errorf(codes.PermissionDenied,
			"it claims to be of %q, the certificate is of %q", l.ownID, who.id)
	}
	for _, v := range l.texts() {
		if len(*v) > MaxLabelLength {
			return status.Errorf(codes.InvalidArgument, "a label has %d bytes: the limit is %d",
				len(*v), MaxLabelLength)
		}
	}
	return nil
}
