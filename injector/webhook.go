package injector

// WebhookName is the MutatingWebhookConfiguration's; WebhookPath is where it posts.
const (
	WebhookName = "tulle-injector"
	WebhookPath = "/inject"
)
