package apidoc

import "slices"

// monitorOperations are what tells customers' servers of changes in the Remote
// Manager.
var monitorOperations = slices.Concat(
	resource("Monitors", "/monitors", "rm_monitor", "Monitor", asked, exported()),
	[]Operation{
		{
			Method: "POST", Path: ws + "/monitors/inventory", ID: "CreateMonitor", Resource: "Monitors", Summary: "Makes a monitor",
			About: "It is inactive until its target has answered an empty document.", Body: "rm_monitor_request", Answers: answered(201, "rm_monitor"),
		},
		one("GET", "/monitors/inventory/{id}", "FetchMonitor", "Monitors", "Shows one monitor, without its credentials", "rm_monitor", 200),
		{
			Method: "PUT", Path: ws + "/monitors/inventory/{id}", ID: "UpdateMonitor", Resource: "Monitors", Summary: "Changes a monitor, and has it begin again",
			About: "One that was switched off is on again, and goes on where it was.", Body: "rm_monitor_request", Answers: answered(200, "rm_monitor"),
		},
		removed("/monitors/inventory/{id}", "DeleteMonitor", "Monitors", "Removes a monitor"),
		{
			Method: "GET", Path: ws + "/monitors/history/{id}", ID: "FetchMonitorHistory", Resource: "Monitors", Summary: "Fetches the messages of a polling or persistent monitor",
			About: "Nothing is used up: the cursor of the client says what it has.",
			Params: []Field{
				{"size", "int", false, "Messages in an answer, 1 to 1000; 1000 if not given."},
				{"cursor", "text", false, "Where to go on, as an answer before has told; from the beginning if not given."},
			},
			Answers: answered(200, "rm_monitor_history"),
		},
	},
)

var monitorSchemas = []Schema{
	{Name: "rm_monitor", About: "What is told to a server, or kept for a client to fetch.", Fields: []Field{
		{"id", "int", false, ""},
		{"type", "one of http, polling", false, ""},
		{"topics", "list of text", false, "Resources, or records as devices/KEY."},
		{"url", "maybe text", false, ""},
		{"method", "maybe one of POST, PUT", false, ""},
		{"format", "one of json", false, ""},
		{"headers", "maybe list of text", false, "Their names alone."},
		{"persistent", "bool", false, "Whether what comes while the target is away is kept for it."},
		{"batch_size", "int", false, ""},
		{"batch_duration", "int", false, ""},
		{"compression", "one of none, gzip", false, ""},
		{"description", "maybe text", false, ""},
		{"status", "one of inactive, active, disabled", false, ""},
		{"failing_since", "maybe time", false, "Ours."},
		{"last_error", "maybe text", false, "Ours: why the target does not get what it should."},
		{"last_connect", "maybe time", false, ""},
		{"last_sent", "maybe time", false, ""},
		{"created_by", "maybe text", false, ""},
		{"customer_id", "int", false, "The account."},
		{"created", "time", false, ""},
		{"updated", "time", false, ""},
	}},
	{Name: "rm_monitor_history", About: "Messages, each as a document has it.", Fields: []Field{
		{"count", "int", false, "Messages in this answer."},
		{"size", "int", false, ""},
		{"cursor", "maybe text", false, "Where to go on; not there if there is no more yet."},
		{"next_uri", "maybe text", false, ""},
		{"polling_cursor", "text", false, "Where to go on, now or later."},
		{"list", "list of map", false, "Objects with timestamp, operation, topic, and the record under its resource's name."},
	}},
	{Name: "rm_monitor_request", About: "A monitor to make, or what to change of one.", Fields: []Field{
		{"type", "maybe one of http, polling", false, "Must be there at first; cannot be changed."},
		{"topics", "maybe list of text", false, "Some of devices, jobs, esim_profiles, esim_transactions, esim_operations, or records of these: devices/KEY. Must be there at first."},
		{"url", "maybe url", false, "Of http, where documents go."},
		{"method", "maybe one of POST, PUT", false, "POST if not given."},
		{"format", "maybe one of json", false, ""},
		{"headers", "maybe list of text", false, "Each as Name: value. Their values never come out."},
		{"auth_token", "maybe text", false, "user:password for HTTP Basic, or a bearer token. Goes in and never comes out."},
		{"persistent", "maybe bool", false, ""},
		{"batch_size", "maybe int 1 to 1000", false, "Messages of a document; 100 if not given."},
		{"batch_duration", "maybe int 0 to 3600", false, "Seconds that a document waits for more messages; 1 if not given."},
		{"compression", "maybe one of none, gzip", false, "none if not given."},
		{"description", "maybe text 255", false, ""},
		{"status", "maybe one of active, disabled", false, "To switch it on or off."},
	}, Open: true},
}
