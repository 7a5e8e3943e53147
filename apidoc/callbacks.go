package apidoc

const callbacks = "/v1/Callbacks"

// callbackOperations are the record of callbacks, which the hosted services
// show in a console.
var callbackOperations = []Operation{
	{
		Method: "GET", Path: callbacks, ID: "ListCallback", Resource: "Callbacks", Summary: "Lists what was told to the account's servers, newest first",
		About: "Forwards only: follow next_page_url.",
		Params: fields([]Field{
			{"SubjectSid", "text", false, "Only callbacks about this resource."},
			{"Status", "text", false, "Only callbacks with this status."},
		}, paging),
		Answers: listed("callback", "callbacks"),
	},
	{
		Method: "GET", Path: callbacks + "/{Sid}", ID: "FetchCallback", Resource: "Callbacks", Summary: "Shows one callback and every attempt",
		Answers: answered(200, "callback"),
	},
	{
		Method: "POST", Path: callbacks + "/{Sid}/Redeliveries", ID: "RedeliverCallback", Resource: "Callbacks", Summary: "Delivers one callback again",
		Answers: answered(202, "callback"),
	},
	{
		Method: "POST", Path: callbacks + "/Redeliveries", ID: "RedeliverCallbacks", Resource: "Callbacks", Summary: "Delivers the callbacks of a time again",
		Params: []Field{
			{"StartTime", "time", true, "Callbacks from this time on."},
			{"EndTime", "time", false, "Callbacks before this time; now if not given."},
			{"SubjectSid", "text", false, "Only callbacks about this resource."},
			{"Status", "one of delivered, failed", false, "Only callbacks with this status; failed if not given."},
		},
		Answers: answered(202, "redelivery"),
	},
	{
		Method: "GET", Path: callbacks + "/Endpoints", ID: "ListCallbackEndpoint", Resource: "Callbacks", Summary: "Lists the account's servers that fail",
		Answers: answered(200, "endpoints"),
	},
	{
		Method: "POST", Path: callbacks + "/Endpoints", ID: "ResumeCallbackEndpoint", Resource: "Callbacks", Summary: "Calls a paused server again",
		Params: []Field{
			{"Endpoint", "text", true, "As listed."},
			{"Status", "one of active", true, "active is all that may be asked for."},
		},
		Answers: answered(200, "endpoint_resumed"),
	},
	{
		Method: "GET", Path: callbacks + "/Settings", ID: "FetchCallbackSettings", Resource: "Callbacks", Summary: "Shows how callbacks are signed",
		About: "Not with an API key.", Answers: answered(200, "callback_settings"),
	},
	{
		Method: "POST", Path: callbacks + "/Settings", ID: "UpdateCallbackSettings", Resource: "Callbacks", Summary: "Changes how callbacks are signed",
		About: "Not with an API key.",
		Params: []Field{
			{"Dialect", "one of twilio, kore", false, "Whose headers callbacks carry."},
			{"RotateSigningSecret", "bool", false, "Whether to make a new secret for Standard Webhooks."},
		},
		Answers: answered(200, "callback_settings"),
	},
}

var callbackSchemas = []Schema{
	{Name: "callback", Extension: true, About: "A form on its way to a server of the account.", Fields: fields([]Field{
		{"sid", "text", false, ""},
		{"account_sid", "sid AC", false, ""},
		{"subject_sid", "text", false, "What it is about."},
		{"callback_url", "text", false, ""},
		{"callback_method", "method", false, ""},
		{"parameters", "text", false, "URL-encoded."},
		{"idempotency_token", "text", false, "The same at every attempt."},
		{"status", "text", false, ""},
		{"attempt_count", "int", false, ""},
		{"last_http_status", "int?", false, ""},
		{"last_error", "text?", false, ""},
		{"date_next_attempt", "time?", false, ""},
	}, dates, link, []Field{{"attempts", "maybe list of object callback_attempt", false, "Of a single one, not in lists."}})},
	{Name: "callback_attempt", Extension: true, Fields: []Field{
		{"number", "int", false, ""},
		{"date", "time", false, ""},
		{"milliseconds", "number", false, ""},
		{"http_status", "int?", false, ""},
		{"error", "text?", false, ""},
	}},
	{Name: "redelivery", Extension: true, Fields: []Field{
		{"redelivered", "int", false, ""},
		{"more", "bool", false, "Whether there are more than one request repeats: ask again."},
	}},
	{Name: "endpoints", Extension: true, Fields: []Field{{"endpoints", "list of object endpoint", false, ""}}},
	{Name: "endpoint", Extension: true, Fields: []Field{
		{"endpoint", "text", false, ""},
		{"status", "one of failing, paused", false, ""},
		{"failures", "int", false, ""},
		{"date_failing_since", "time", false, ""},
		{"date_paused", "time?", false, ""},
	}},
	{Name: "endpoint_resumed", Extension: true, Fields: []Field{{"endpoint", "text", false, ""}, {"status", "one of active", false, ""}}},
	{Name: "callback_settings", Extension: true, Fields: []Field{
		{"account_sid", "sid AC", false, ""},
		{"dialect", "one of twilio, kore", false, ""},
		{"signing_secret", "text", false, "For Standard Webhooks."},
	}},
}
