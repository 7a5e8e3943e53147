package apidoc

import "slices"

// remoteOperations are the Remote Manager API. Every resource follows one pattern,
// so most of the table is made by the functions below.
var remoteOperations = managed(slices.Concat(
	[]Operation{{Method: "GET", Path: ws, ID: "ListResources", Resource: "Remote Manager", Summary: "Lists the resources", Answers: uris}},

	resource("Devices", "/devices", "rm_device", "Device", append(slices.Clone(deviceFilters), asked...), exported(deviceFilters...)),
	[]Operation{
		{
			Method: "POST", Path: ws + "/devices/inventory", ID: "PutDevices", Resource: "Devices", Summary: "Registers devices, or changes them",
			About: "One object or an array; the answer is a list in the same order. 207 if some were refused: a refusal stands in the place of each of these.",
			Body:  "rm_device_request", Many: true, Params: updateOnly, Answers: several("rm_device", 201),
		},
		{
			Method: "DELETE", Path: ws + "/devices/inventory", ID: "DeleteDevices", Resource: "Devices", Summary: "Removes devices by tag, type, address or name",
			About: "Refused without any of these four.", Params: deviceFilters, Answers: answered(200, "rm_count"),
		},
		one("GET", "/devices/inventory/{id}", "FetchDevice", "Devices", "Shows one device", "rm_device", 200),
		{
			Method: "PUT", Path: ws + "/devices/inventory/{id}", ID: "UpdateDevice", Resource: "Devices", Summary: "Changes a device, or registers it",
			Body: "rm_device_request", Params: updateOnly, Answers: slices.Concat(answered(200, "rm_device"), answered(201, "rm_device")),
		},
		removed("/devices/inventory/{id}", "DeleteDevice", "Devices", "Removes a device with its eSIMs"),
		{
			Method: "POST", Path: ws + "/devices/bulk", ID: "ImportDevices", Resource: "Devices", Summary: "Registers devices from CSV",
			About:  "A header line, then one line for each device with id or mac. Devices that exist stay as they are unless update is true.",
			Params: []Field{{"update", "bool", false, "Change devices that exist, too."}}, Query: true, Files: []string{"text/csv"}, Answers: several("rm_device", 201),
		},
		{
			Method: "GET", Path: ws + "/devices/types", ID: "ListDeviceTypes", Resource: "Devices", Summary: "Lists the device types in use", Answers: answered(200, "rm_types"),
		},
	},

	resource("eSIMs", "/esims", "rm_esim", "ESIM", asked, exported()),
	[]Operation{one("GET", "/esims/inventory/{eid}", "FetchESIM", "eSIMs", "Shows one eSIM", "rm_esim", 200)},
	extended([]Operation{
		removed("/esims/inventory/{eid}", "DeleteESIM", "eSIMs", "Takes an eSIM out of its device"),
		one("GET", "/esims/inventory/{eid}/eim_configuration", "FetchEIMConfiguration", "eSIMs", "What the eUICC is told of the eIM (AddInitialEim, SGP.32)", "rm_eim_configuration", 200),
		one("GET", "/esims/inventory/{eid}/packages", "ListPackages", "eSIMs", "Lists the newest packages of the eIM for an eUICC", "rm_packages", 200),
		{
			Method: "POST", Path: ws + "/esims/inventory/{eid}/packages", ID: "OrderPackage", Resource: "eSIMs", Summary: "Has the eIM order something of an eUICC that is no action on a profile",
			About: "Rules, immediate enabling, the fallback profile, the default SM-DP+, and the eIMs that the eUICC takes orders from (SGP.32).",
			Body:  "rm_package_request", Answers: answered(200, "rm_package"),
		},
		one("GET", "/esims/inventory/{eid}/packages/{id}", "FetchPackage", "eSIMs", "Shows one package, with what the eUICC signed", "rm_package", 200),
	}),

	resource("Activation codes", "/esim_activation_codes", "rm_code", "ActivationCode", asked, exported()),
	[]Operation{
		{
			Method: "POST", Path: ws + "/esim_activation_codes/inventory", ID: "PutActivationCodes", Resource: "Activation codes", Summary: "Registers activation codes",
			About: "One object or an array; 207 if some were refused. The secret never comes out again.",
			Body:  "rm_code_request", Many: true, Answers: several("rm_code", 201),
		},
		one("GET", "/esim_activation_codes/inventory/{iccid}", "FetchActivationCode", "Activation codes", "Shows one activation code, without its secret", "rm_code", 200),
		{
			Method: "PUT", Path: ws + "/esim_activation_codes/inventory/{iccid}", ID: "UpdateActivationCode", Resource: "Activation codes",
			Summary: "Changes the carrier or the secret of a code", Body: "rm_code_change", Answers: answered(200, "rm_code"),
		},
		removed("/esim_activation_codes/inventory/{iccid}", "DeleteActivationCode", "Activation codes", "Removes a code; 409 while it is reserved"),
		{
			Method: "POST", Path: ws + "/esim_activation_codes/bulk", ID: "ImportActivationCodes", Resource: "Activation codes", Summary: "Registers activation codes from CSV",
			About: "Columns iccid, carrier, activation_code, confirmation_code.", Query: true, Files: []string{"text/csv"}, Answers: several("rm_code", 201),
		},
	},

	resource("Profiles", "/esim_profiles", "rm_profile", "Profile", asked, exported()),
	[]Operation{
		one("GET", "/esim_profiles/inventory/{iccid}", "FetchProfile", "Profiles", "Shows one profile", "rm_profile", 200),
		action("download", "Has a device download a profile", "rm_download"),
		action("enable", "Has a device enable a profile", "rm_action"),
		action("disable", "Has a device disable a profile", "rm_action"),
		action("delete", "Has a device delete a profile", "rm_action"),
		one("GET", "/esim_profiles/progress/{tx}", "FetchTransaction", "Profiles", "Shows how far an action has come", "rm_transaction", 200),
		list("GET", "/esim_profiles/transactions/inventory", "ListTransactions", "Profiles", "Lists actions", "rm_transaction", asked),
		list("GET", "/esim_profiles/operations/inventory", "ListOperations", "Operations", "Lists multistep operations", "rm_operation", asked),
		{
			Method: "POST", Path: ws + "/esim_profiles/operations/inventory", ID: "BeginOperation", Resource: "Operations", Summary: "Starts a multistep operation",
			About: "An object is answered with the operation, an array with a list; 207 if some were refused.",
			Body:  "rm_operation_request", Many: true, Answers: append(answered(201, "rm_operation"), several("rm_operation", 0)...),
		},
		one("GET", "/esim_profiles/operations/inventory/{id}", "FetchOperation", "Operations", "Shows one operation", "rm_operation", 200),
	},
	extended([]Operation{
		one("POST", "/esim_profiles/operations/inventory/{id}/cancel", "CancelOperation", "Operations", "Ends an operation that the device has not got yet", "rm_operation", 200),
		one("POST", "/esim_profiles/operations/inventory/{id}/retry", "RetryOperation", "Operations", "Begins an operation that failed once more, as a new one", "rm_operation", 201),
	}),

	resource("Jobs", "/jobs", "rm_job", "Job", asked, exported()),
	[]Operation{
		one("GET", "/jobs/{job_id}", "FetchJob", "Jobs", "Shows one job", "rm_job", 200),
		one("GET", "/jobs/inventory/{job_id}", "FetchJobInventory", "Jobs", "Shows one job", "rm_job", 200),
		{
			Method: "PUT", Path: ws + "/jobs/cancel", ID: "CancelJobs", Resource: "Jobs", Summary: "Cancels jobs", About: "Possible until a device has the request.",
			Body: "rm_job_request", Many: true, Answers: append(answered(200, "rm_job"), several("rm_job", 0)...),
		},
		one("PUT", "/jobs/cancel/{job_id}", "CancelJob", "Jobs", "Cancels one job", "rm_job", 200),
	},

	monitorOperations,
	resource("Events", "/events", "rm_event", "Event", append(slices.Clone(between), asked...), exported(between...)),
	extended(slices.Concat(rolloutOperations, ruleOperations, userOperations)),
))

// ws is where the API is.
const ws = "/ws/v1"

var (
	uris  = []Answer{{Status: 200, Type: "application/json"}}
	asked = []Field{
		{"query", "text", false, "Which records; see the page on the query language."},
		{"orderby", "text", false, "One field, with asc or desc before or after it."},
		{"order", "text", false, "asc or desc for orderby, or what stands in its place."},
		{"size", "int", false, "Records in a page, 1 to 1000; 1000 if not given. More are cut to 1000."},
		{"cursor", "text", false, "Where to go on, as the page before has told; other parameters may be left out then."},
	}
	updateOnly    = []Field{{"update_only", "bool", false, "Refuse what does not exist."}}
	deviceFilters = []Field{
		{"group", "text", false, "Only devices of this group."},
		{"child_groups", "bool", false, "And of the groups below; true if not given."},
		{"tag", "text", false, "Only devices with this tag."},
		{"type", "text", false, "Only devices of this type."},
		{"address", "text", false, "Only the device with this address."},
		{"name", "text", false, "Only devices with this name."},
	}
	between = []Field{
		{"start_time", "text", false, "From this time on: ISO 8601, or an offset such as -1d."},
		{"end_time", "text", false, "Before this time."},
	}
)

// exported are the parameters of a CSV export.
func exported(more ...Field) []Field {
	return append(slices.Clone(more), Field{"fields", "text", false, "Columns, divided by commas; all if not given."}, asked[0], asked[1], asked[2],
		Field{"size", "int", false, "Rows, 1 to 20000; 20000 if not given."})
}

// resource is what every resource has: a summary, a list and an export.
func resource(name, path, schema, id string, params, export []Field) []Operation {
	return []Operation{
		{Method: "GET", Path: ws + path, ID: "Summarize" + id + "s", Resource: name, Summary: "Names the requests of the resource", Answers: uris},
		list("GET", path+"/inventory", "List"+id+"s", name, "Lists them", schema, params),
		{
			Method: "GET", Path: ws + path + "/bulk", ID: "Export" + id + "s", Resource: name, Summary: "Exports them as CSV",
			About: "A header Truncated says that matches were left out.", Params: export, Answers: []Answer{{Status: 200, Type: "text/csv"}},
		},
	}
}

func list(method, path, id, resource, summary, schema string, params []Field) Operation {
	return Operation{Method: method, Path: ws + path, ID: id, Resource: resource, Summary: summary, Params: params, Answers: answered(200, schema+"s")}
}

func one(method, path, id, resource, summary, schema string, status int) Operation {
	return Operation{Method: method, Path: ws + path, ID: id, Resource: resource, Summary: summary, Query: true, Answers: answered(status, schema)}
}

func removed(path, id, resource, summary string) Operation {
	return Operation{Method: "DELETE", Path: ws + path, ID: id, Resource: resource, Summary: summary, Answers: answered(204, "")}
}

// several are the answers to a request for several records; status 0 is given
// elsewhere.
func several(schema string, status int) []Answer {
	mixed := answered(207, schema+"_outcomes")
	if status == 0 {
		return mixed
	}
	return append(answered(status, schema+"s"), mixed...)
}

func action(name, summary, body string) Operation {
	return Operation{
		Method: "POST", Path: ws + "/esim_profiles/" + name, ID: "Profile" + name, Resource: "Profiles", Summary: summary,
		About: "Answered at once with the transaction; how it ends is seen at progress/{transaction}. 409 while another action runs on the eSIM.",
		Body:  body, Answers: answered(200, "rm_transaction"),
	}
}

// managed gives operations what all of them have: users log in, and refusals
// have one form.
func managed(list []Operation) []Operation {
	for i := range list {
		list[i].Users, list[i].Refusal = true, "rm_failure"
	}
	return list
}

var rolloutOperations = []Operation{
	{Method: "GET", Path: ws + "/rollouts", ID: "SummarizeRollouts", Resource: "Rollouts", Summary: "Names the requests of the resource", Answers: uris},
	list("GET", "/rollouts/inventory", "ListRollouts", "Rollouts", "Lists rollouts", "rm_rollout", asked),
	{
		Method: "POST", Path: ws + "/rollouts/inventory", ID: "StartRollout", Resource: "Rollouts", Summary: "Starts one operation on every eSIM of the devices that a query finds",
		Body: "rm_rollout_request", Answers: answered(201, "rm_rollout"),
	},
	{
		Method: "POST", Path: ws + "/rollouts/preview", ID: "PreviewRollout", Resource: "Rollouts", Summary: "Says what a rollout would do, and does nothing",
		Body: "rm_rollout_request", Answers: answered(200, "rm_rollout_preview"),
	},
	one("GET", "/rollouts/inventory/{id}", "FetchRollout", "Rollouts", "Shows one rollout", "rm_rollout", 200),
	one("POST", "/rollouts/inventory/{id}/continue", "ContinueRollout", "Rollouts", "Has a rollout go on that stopped because too many had failed", "rm_rollout", 200),
	one("POST", "/rollouts/inventory/{id}/cancel", "CancelRollout", "Rollouts", "Ends a rollout", "rm_rollout", 200),
}

var ruleOperations = []Operation{
	{Method: "GET", Path: ws + "/esim_rules", ID: "SummarizeRules", Resource: "Rules", Summary: "Names the requests of the resource", Answers: uris},
	list("GET", "/esim_rules/inventory", "ListRules", "Rules", "Lists rules", "rm_rule", asked),
	{
		Method: "POST", Path: ws + "/esim_rules/inventory", ID: "CreateRule", Resource: "Rules", Summary: "Makes a rule", Body: "rm_rule_request", Answers: answered(201, "rm_rule"),
	},
	one("GET", "/esim_rules/inventory/{id}", "FetchRule", "Rules", "Shows one rule", "rm_rule", 200),
	{
		Method: "PUT", Path: ws + "/esim_rules/inventory/{id}", ID: "UpdateRule", Resource: "Rules", Summary: "Changes a rule", Body: "rm_rule_request", Answers: answered(200, "rm_rule"),
	},
	removed("/esim_rules/inventory/{id}", "DeleteRule", "Rules", "Removes a rule; operations that it began go on"),
	{Method: "GET", Path: ws + "/carriers", ID: "SummarizeCarriers", Resource: "Carriers", Summary: "Names the requests of the resource", Answers: uris},
	{Method: "GET", Path: ws + "/carriers/aliases", ID: "ListAliases", Resource: "Carriers", Summary: "Lists other names of carriers", Answers: answered(200, "rm_aliases")},
	{
		Method: "POST", Path: ws + "/carriers/aliases", ID: "PutAlias", Resource: "Carriers", Summary: "Has a carrier shown under, and matched with, another name",
		Body: "rm_alias", Answers: answered(201, "rm_alias"),
	},
	removed("/carriers/aliases/{alias}", "DeleteAlias", "Carriers", "Removes another name of a carrier"),
}

var userOperations = []Operation{
	one("GET", "/account", "FetchOwnAccount", "Users", "Shows the caller's account and role", "rm_account", 200),
	{
		Method: "PUT", Path: ws + "/account", ID: "UpdateOwnAccount", Resource: "Users", Summary: "Allows API keys, or not", About: "For administrators.",
		Body: "rm_account_request", Answers: answered(200, "rm_account"),
	},
	{Method: "GET", Path: ws + "/users", ID: "SummarizeUsers", Resource: "Users", Summary: "Names the requests of the resource", Answers: uris},
	list("GET", "/users/inventory", "ListUsers", "Users", "Lists users, for administrators", "rm_user", nil),
	{
		Method: "POST", Path: ws + "/users/inventory", ID: "CreateUser", Resource: "Users", Summary: "Adds a user",
		About: "For administrators. Without a password one is made, and shown this once.", Body: "rm_user_request", Answers: answered(201, "rm_user"),
	},
	one("GET", "/users/inventory/{name}", "FetchUser", "Users", "Shows one user, for administrators", "rm_user", 200),
	{
		Method: "PUT", Path: ws + "/users/inventory/{name}", ID: "UpdateUser", Resource: "Users", Summary: "Changes a user's role or password", About: "For administrators.",
		Body: "rm_user_change", Answers: answered(200, "rm_user"),
	},
	removed("/users/inventory/{name}", "DeleteUser", "Users", "Removes a user and its API keys, for administrators"),
	{Method: "GET", Path: ws + "/api_keys", ID: "SummarizeAPIKeys", Resource: "API keys", Summary: "Names the requests of the resource", Answers: uris},
	list("GET", "/api_keys/inventory", "ListAPIKeys", "API keys", "Lists the caller's API keys", "rm_api_key", nil),
	{
		Method: "POST", Path: ws + "/api_keys/inventory", ID: "CreateAPIKey", Resource: "API keys", Summary: "Makes an API key for the caller",
		About: "The secret is shown here and never again. Not with an API key, and only where an administrator allows keys.",
		Body:  "rm_api_key_request", Answers: answered(201, "rm_api_key"),
	},
	removed("/api_keys/inventory/{id}", "DeleteAPIKey", "API keys", "Withdraws an API key"),
}
