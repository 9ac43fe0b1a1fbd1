package injector

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/identity/serve"
)

// WebhookName is the MutatingWebhookConfiguration's; WebhookPath is where the API server posts.
const (
	WebhookName = names.Injector
	WebhookPath = "/inject"
)

// maxReview bounds a request, in bytes: the API server's own bound on an object is 3 MiB, and the
// review of a new one holds it once.
const maxReview = 3<<20 + 512<<10

// webhook answers the API server's questions about pods.
type webhook struct {
	config Config
	client kubernetes.Interface
	memory *budget
	log    *slog.Logger
	counts *prometheus.CounterVec // of reviews, by what came of them
}

// What comes of a review.
const (
	resultInjected = "injected"
	resultSkipped  = "skipped" // it needs no proxy, or the author does not want one
	resultRefused  = "refused" // what the pod's author says makes no sense
	resultFailed   = "failed"  // the injector could not answer, and the API server refuses the pod
)

// newCounts has all that may come of a review from the start: whoever watches must see the first.
func newCounts() *prometheus.CounterVec {
	counts := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tulle_injector_reviews_total",
		Help: "Pods that the API server asked about, by what came of it.",
	}, []string{"result"})
	for _, result := range []string{resultInjected, resultSkipped, resultRefused,
		resultFailed} {
		counts.WithLabelValues(result)
	}
	return counts
}

func (w *webhook) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method != http.MethodPost:
		http.Error(rw, "post an AdmissionReview", http.StatusMethodNotAllowed)
		return
	case r.ContentLength < 0:
		http.Error(rw, "say how long the review is", http.StatusLengthRequired)
		return
	case r.ContentLength > maxReview:
		http.Error(rw, fmt.Sprintf("read admission review: too large: %d bytes, and %d are read",
			r.ContentLength, maxReview), http.StatusRequestEntityTooLarge)
		return
	}
	from, size := serve.AddressOf(r.RemoteAddr), memoryPerReview+memoryPerByte*int(r.ContentLength)
	if err := w.memory.reserve(r.Context(), from, size); err != nil {
		w.counts.WithLabelValues(resultFailed).Inc()
		http.Error(rw, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer w.memory.release(from, size)
	w.review(rw, r)
}

// review answers a request whose size is accounted for.
func (w *webhook) review(rw http.ResponseWriter, r *http.Request) {
	body := make([]byte, r.ContentLength)
	if _, err := io.ReadFull(http.MaxBytesReader(rw, r.Body, maxReview), body); err != nil {
		http.Error(rw, "read admission review: "+err.Error(), http.StatusBadRequest)
		return
	}
	review, pod, err := readReview(body)
	if err != nil {
		w.log.Warn("refused an admission review", "err", err, "from", r.RemoteAddr)
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	answer, err := w.answer(r.Context(), review.Request, pod)
	w.count(answer)
	if err != nil {
		w.log.Error("cannot answer an admission review", "namespace", review.Request.Namespace,
			"err", err)
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	rw.Header().Set("Content-Type", "application/json")
	out := admissionv1.AdmissionReview{TypeMeta: review.TypeMeta, Response: answer}
	if err := json.NewEncoder(rw).Encode(out); err != nil {
		w.log.Warn("cannot write an admission answer", "err", err)
	}
}

// count counts an answer; nil: there is none.
func (w *webhook) count(answer *admissionv1.AdmissionResponse) {
	result := resultInjected
	switch {
	case answer == nil:
		result = resultFailed
	case !answer.Allowed:
		result = resultRefused
	case len(answer.Patch) == 0:
		result = resultSkipped
	}
	w.counts.WithLabelValues(result).Inc()
}

// readReview refuses whatever is not a question about a new pod, and says what is wrong with it.
func readReview(body []byte) (admissionv1.AdmissionReview, corev1.PodTemplateSpec, error) {
	var review admissionv1.AdmissionReview
	var pod corev1.PodTemplateSpec
	if err := json.Unmarshal(body, &review); err != nil {
		return review, pod, fmt.Errorf("read admission review: %w", err)
	}
	if review.APIVersion != "admission.k8s.io/v1" || review.Kind != "AdmissionReview" {
		return review, pod, fmt.Errorf(
			"read admission review: got %s %s, want admission.k8s.io/v1 AdmissionReview",
			review.APIVersion, review.Kind)
	}
	q := review.Request
	switch {
	case q == nil:
		return review, pod, errors.New("read admission review: it holds no request")
	case q.UID == "":
		return review, pod, errors.New("read admission review: the request has no uid")
	case q.Resource != metav1.GroupVersionResource{Version: "v1", Resource: "pods"}:
		return review, pod, fmt.Errorf(
			"read admission review: it is about %s, and only pods are injected",
			q.Resource.Resource)
	case len(q.Object.Raw) == 0:
		return review, pod, errors.New("read admission review: the request holds no object")
	}
	// A pod is a pod template with a name.
	if err := json.Unmarshal(q.Object.Raw, &pod); err != nil {
		return review, pod, fmt.Errorf("read the pod of an admission review: %w", err)
	}
	return review, pod, nil
}

// answer says what to change. An annotation that makes no sense refuses the pod: started without
// the mesh, or with other settings than were meant, it would be worse.
func (w *webhook) answer(
	ctx context.Context, q *admissionv1.AdmissionRequest, pod corev1.PodTemplateSpec,
) (*admissionv1.AdmissionResponse, error) {
	answer := &admissionv1.AdmissionResponse{UID: q.UID, Allowed: true}
	change, reason, err := w.plan(ctx, q, pod)
	switch {
	case errors.As(err, new(lookupError)):
		return nil, err
	case err != nil:
		answer.Allowed = false
		answer.Result = &metav1.Status{Status: metav1.StatusFailure,
			Code: http.StatusUnprocessableEntity, Reason: metav1.StatusReasonInvalid,
			Message: "tulle: " + err.Error()}
		return answer, nil
	case reason != "":
		answer.Warnings = w.skipped(q, pod, reason)
		return answer, nil
	}
	if answer.Patch, err = marshalPatch(change.Patch(pod)); err != nil {
		return nil, err
	}
	answer.PatchType = new(admissionv1.PatchType)
	*answer.PatchType = admissionv1.PatchTypeJSONPatch
	return answer, nil
}

// lookupError is a failure of ours, not of the pod's author.
type lookupError struct{ error }

func (w *webhook) plan(
	ctx context.Context, q *admissionv1.AdmissionRequest, pod corev1.PodTemplateSpec,
) (Change, Reason, error) {
	if q.Namespace == w.config.Namespace {
		return Change{}, ControlPlane, nil
	}
	if reason, err := skip(pod); reason != "" || err != nil {
		return Change{}, reason, err
	}
	ns, err := w.client.CoreV1().Namespaces().Get(ctx, q.Namespace, metav1.GetOptions{})
	if err != nil {
		return Change{}, "", lookupError{fmt.Errorf("look up namespace %q: %w", q.Namespace, err)}
	}
	return Plan(w.config, pod, ns.Annotations)
}

// skipped tells whoever creates the pod, by a warning in the answer, why a pod that was to be
// meshed is not; kubectl prints it. It makes no event: reviews are not authenticated, and an event
// would be about whatever object a forged one names. Pods that are injected already, or opted out,
// are as they were meant.
func (w *webhook) skipped(
	q *admissionv1.AdmissionRequest, pod corev1.PodTemplateSpec, reason Reason,
) []string {
	if reason == AlreadyInjected || reason == Disabled {
		return nil
	}
	w.log.Info("pod not injected", "namespace", q.Namespace,
		"pod", cmp.Or(pod.Name, pod.GenerateName), "reason", reason)
	return []string{"tulle: not injected: " + string(reason)}
}
