package manifest

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/injector"
)

// webhook asks the injector about pods that opted in, and about no others: a cluster where the
// injector is away still starts every pod that never asked for the mesh. It carries no caBundle;
// the injector writes it.
func (c Config) webhook() *admissionv1.MutatingWebhookConfiguration {
	return &admissionv1.MutatingWebhookConfiguration{
		TypeMeta:   typeMeta("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"),
		ObjectMeta: meta(injector.WebhookName, ""),
		Webhooks: []admissionv1.MutatingWebhook{
			c.namespaceHook(),
			c.podHook(),
		},
	}
}

// namespaceHook: every pod of a namespace with the label, but those that opted out.
func (c Config) namespaceHook() admissionv1.MutatingWebhook {
	hook := c.hook("namespace.inject.tulle.dev")
	hook.NamespaceSelector.MatchLabels = map[string]string{names.AnnotationInject: "enabled"}
	hook.ObjectSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
		{Key: names.AnnotationInject, Operator: metav1.LabelSelectorOpNotIn,
			Values: []string{"disabled"}},
	}}
	return hook
}

// podHook: single pods of other namespaces, by label or annotation. The injector is asked about
// every value but the one that surely keeps the pod out, so that it can refuse what means nothing.
func (c Config) podHook() admissionv1.MutatingWebhook {
	hook := c.hook("pod.inject.tulle.dev")
	hook.NamespaceSelector.MatchExpressions = append(
		hook.NamespaceSelector.MatchExpressions, metav1.LabelSelectorRequirement{
			Key: names.AnnotationInject, Operator: metav1.LabelSelectorOpNotIn,
			Values: []string{"enabled"},
		})
	hook.MatchConditions = []admissionv1.MatchCondition{{
		Name:       "opted-in",
		Expression: optedIn("labels") + " || " + optedIn("annotations"),
	}}
	return hook
}

func optedIn(field string) string {
	const key = "'" + names.AnnotationInject + "'"
	of := "object.metadata." + field
	return "(has(" + of + ") && " + key + " in " + of + " && " + of + "[" + key + "] != 'disabled')"
}

func (c Config) hook(name string) admissionv1.MutatingWebhook {
	return admissionv1.MutatingWebhook{
		Name: name,
		ClientConfig: admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{
			Namespace: c.Injector.Namespace, Name: names.Injector, Path: ptr(injector.WebhookPath),
			Port: ptr(int32(443)),
		}},
		Rules: []admissionv1.RuleWithOperations{{
			Operations: []admissionv1.OperationType{admissionv1.Create},
			Rule: admissionv1.Rule{
				APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"},
				Scope: ptr(admissionv1.NamespacedScope),
			},
		}},
		// A pod that asked for the mesh and starts without it would talk in plaintext: rather not
		// at all.
		FailurePolicy:           ptr(admissionv1.Fail),
		MatchPolicy:             ptr(admissionv1.Equivalent),
		SideEffects:             ptr(admissionv1.SideEffectClassNoneOnDryRun), // events
		ReinvocationPolicy:      ptr(admissionv1.IfNeededReinvocationPolicy),
		TimeoutSeconds:          ptr(int32(10)),
		AdmissionReviewVersions: []string{"v1"},
		NamespaceSelector: &metav1.LabelSelector{
			MatchExpressions: []metav1.LabelSelectorRequirement{{
				Key: "kubernetes.io/metadata.name", Operator: metav1.LabelSelectorOpNotIn,
				Values: []string{c.Injector.Namespace, "kube-system"},
			}},
		},
	}
}
