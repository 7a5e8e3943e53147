package apidoc

// koreOperations are KORE's services around Super SIM. There each has a host of
// its own; here all of them have this address.
var koreOperations = []Operation{
	{
		Method: "POST", Path: "/api-services/v1/auth/token", ID: "CreateToken", Resource: "Tokens", Summary: "Gives an access token",
		About: "Client credentials: in the form, or with HTTP Basic. The token is a JWT; ask again when it ends.",
		Open:  true, Refusal: "token_failure", Params: grant, Answers: answered(200, "token"),
	},
	{
		Method: "OPTIONS", Path: "/api-services/v1/auth/token", ID: "TokenOptions", Resource: "Tokens", Summary: "Says which methods there are",
		Open: true, Refusal: "token_failure", Answers: answered(200, ""),
	},
	{
		Method: "POST", Path: "/oauth/token", ID: "CreateOauthToken", Resource: "Tokens", Summary: "Gives an access token, at another path",
		Open: true, Refusal: "token_failure", Params: grant, Answers: answered(200, "token"), Extension: true,
	},
	{
		Method: "OPTIONS", Path: "/oauth/token", ID: "OauthTokenOptions", Resource: "Tokens", Summary: "Says which methods there are",
		Open: true, Refusal: "token_failure", Answers: answered(200, ""), Extension: true,
	},
	{
		Method: "POST", Path: "/oauth/revoke", ID: "RevokeToken", Resource: "Tokens", Summary: "Ends an access token before its time",
		About: "RFC 7009. A text that is no token of the client is no error.",
		Open:  true, Refusal: "token_failure",
		Params:  append([]Field{{"token", "text", true, "The access token."}}, grant[1:]...),
		Answers: answered(200, ""), Extension: true,
	},
	{
		Method: "GET", Path: "/.well-known/jwks.json", ID: "FetchKeySet", Resource: "Tokens", Summary: "The keys that check tokens",
		Open: true, Refusal: "token_failure", Answers: answered(200, "key_set"), Extension: true,
	},
	{
		Method: "GET", Path: "/v1/ping", ID: "Ping", Resource: "Clients", Summary: "Answers that the service is there",
		Refusal: "service_failure", Answers: answered(200, "ping"),
	},
	{
		Method: "GET", Path: "/v1/clients", ID: "ListClient", Resource: "Clients", Summary: "Lists the API clients of the account",
		Refusal: "service_failure", Params: append([]Field{{"client_type", "one of admin, standard", false, "Only clients of this type; all are standard."}}, pages...),
		Answers: answered(200, "clients"),
	},
	{
		Method: "POST", Path: "/v1/clients", ID: "CreateClient", Resource: "Clients", Summary: "Makes an API client",
		About:   "The secret is shown here and never again. Not with an API key.",
		Refusal: "service_failure", Body: "client_request", Answers: answered(201, "client_created"),
	},
	{
		Method: "GET", Path: "/v1/clients/{client_id}", ID: "FetchClient", Resource: "Clients", Summary: "Shows one API client",
		Refusal: "service_failure", Answers: answered(200, "client_shown"),
	},
	{
		Method: "DELETE", Path: "/v1/clients/{client_id}", ID: "DeleteClient", Resource: "Clients", Summary: "Takes an API client away, and its tokens",
		About:   "409 for one that is locked. Not with an API key.",
		Refusal: "service_failure", Answers: answered(204, ""), Extension: true,
	},
	{
		Method: "GET", Path: "/v1/accounts", ID: "ListKoreAccount", Resource: "KORE accounts", Summary: "Lists the account and its children",
		Params: named, Answers: answered(200, "kore_accounts"),
	},
	{
		Method: "POST", Path: "/v1/accounts", ID: "CreateKoreAccount", Resource: "KORE accounts", Summary: "Makes a child account",
		About: "Its callbacks come in KORE's dialect. Not with an API key.",
		Body:  "kore_account_request", Answers: answered(200, "kore_account"),
	},
	{
		Method: "GET", Path: "/v1/platform_account_mappings", ID: "ListAccountMapping", Resource: "KORE accounts",
		Summary: "Tells which account_sid of Super SIM an account has", Params: named, Answers: answered(200, "account_mappings"),
	},
	{
		Method: "GET", Path: "/v1/secrets", ID: "ListSecret", Resource: "Webhook secrets", Summary: "Lists webhook secrets",
		Refusal: "service_failure", Params: append([]Field{{"status", "one of active, pending", false, "Only secrets with this status."}}, pages...),
		Answers: answered(200, "secrets"),
	},
	{
		Method: "POST", Path: "/v1/secrets", ID: "CreateSecret", Resource: "Webhook secrets", Summary: "Makes a webhook secret, which signs from then on",
		About:   "The secret is shown here and never again. Not with an API key.",
		Refusal: "service_failure", Body: "secret_request", Answers: answered(201, "secret"),
	},
	{
		Method: "PATCH", Path: "/v1/secrets/{id}", ID: "UpdateSecret", Resource: "Webhook secrets", Summary: "Renames a webhook secret, or has it sign or rest",
		About:   "Not with an API key.",
		Refusal: "service_failure", Body: "secret_update", Answers: answered(200, "secret"),
	},
}

var (
	grant = []Field{
		{"grant_type", "one of client_credentials", true, ""},
		{"client_id", "text", false, "Or as the user of HTTP Basic."},
		{"client_secret", "text", false, "Or as the password of HTTP Basic."},
	}
	pages = []Field{
		{"page_number", "int 1 to 1048576", false, "The number of the page, from 1."},
		{"page_size", "int 1 to 1000", false, "Items in a page, 50 if not given."},
	}
	named  = []Field{{"account_id", "text", false, "Only this account: the caller's own or a child of it, acct_…"}}
	client = []Field{
		{"client_id", "text", false, "apiclient_… and a ULID."},
		{"account_id", "text", false, "acct_…"},
		{"name", "text", false, ""},
		{"client_owner", "text", false, ""},
		{"client_type", "one of admin, standard", false, ""},
		{"locked", "bool", false, "A locked client cannot be deleted."},
	}
)

var koreSchemas = []Schema{
	{Name: "token", About: "An access token.", Fields: []Field{
		{"access_token", "text", false, "A JWT, ES256."},
		{"expires_in", "int", false, "Seconds."},
		{"token_type", "one of Bearer", false, ""},
		{"scope", "text", false, "The client's products."},
	}},
	{Name: "key_set", Extension: true, About: "RFC 7517.", Fields: []Field{{"keys", "list of map", false, ""}}},
	{Name: "token_failure", About: "RFC 6749, 5.2, with the members of KORE's own errors.", Fields: []Field{
		{"error", "one of invalid_request, invalid_client, unsupported_grant_type, server_error", false, ""},
		{"error_description", "text", false, ""},
		{"code", "int", false, ""},
		{"message", "text", false, ""},
	}},
	{Name: "service_failure", About: "Why a request was not carried out.", Fields: []Field{
		{"status", "int", false, "The HTTP status."},
		{"code", "int", false, "See the table of codes."},
		{"message", "text", false, "Names the member and the rule."},
		{"info", "url", false, ""},
	}},
	{Name: "ping", Fields: []Field{{"status", "text", false, ""}}},
	{Name: "service_meta", About: "The place of a page in its list. A link is empty where there is no such page.", Fields: []Field{
		{"count", "int", false, "Items in all."},
		{"page_number", "int", false, "From 1."},
		{"page_size", "int", false, ""},
		{"previous_page_url", "text", false, ""},
		{"next_page_url", "text", false, ""},
	}},
	{Name: "clients", Fields: []Field{{"meta", "object service_meta", false, ""}, {"clients", "list of object client", false, ""}}},
	{Name: "client_shown", Fields: []Field{{"client", "object client", false, ""}}},
	{Name: "client", About: "An API client.", Fields: fields(client, []Field{{"date_created", "text", false, "Such as Fri, 05 Apr 2024 11:08:14 GMT."}})},
	{Name: "client_created", Fields: fields([]Field{
		{"message", "text", false, ""},
		{"client_secret", "text", false, "Not shown again."},
	}, client, []Field{{"date_created", "time", false, ""}})},
	{Name: "client_request", Fields: []Field{
		{"account_id", "maybe text", false, "The caller's own or a child of it; its own if not given."},
		{"name", "name 255", false, ""},
		{"locked", "bool?", false, "A locked client cannot be deleted."},
		{"scopes", "object client_scopes", false, ""},
		{"client_owner", "maybe text 255", false, "Ours: an e-mail address, for the record."},
		{"lifetime", "maybe int", false, "Ours: of tokens, in seconds: 3600, 86400, 2592000 or 62208000."},
	}},
	{Name: "client_scopes", Fields: []Field{{"products", "list of one of SuperSIM, ProgrammableWireless", false, ""}}},
	{Name: "kore_accounts", Fields: []Field{{"accounts", "list of object kore_account", false, ""}}},
	{Name: "kore_account", Fields: []Field{
		{"id", "text", false, "acct_…"},
		{"parent_id", "text", false, "Empty for an account without a parent."},
		{"date_created", "time", false, ""},
		{"friendly_name", "text", false, ""},
		{"status", "one of ACTIVE, PENDING, DEACTIVATED, SUSPENDED", false, ""},
	}},
	{Name: "kore_account_request", Open: true, Fields: []Field{{"friendly_name", "name 255", false, ""}, {"description", "maybe text", false, "Taken and not kept."}}},
	{Name: "account_mappings", Fields: []Field{{"platforms", "list of object account_mapping", false, ""}}},
	{Name: "account_mapping", Fields: []Field{
		{"id", "text", false, "acct_…"},
		{"legacy_account_id", "sid AC", false, "The account_sid of Super SIM resources."},
		{"platform", "one of twilio", false, ""},
	}},
	{Name: "secrets", Fields: []Field{{"data", "list of object secret", false, ""}, {"meta_data", "object service_meta", false, ""}}},
	{Name: "secret", About: "A webhook secret.", Fields: []Field{
		{"id", "text", false, "whs_… and a ULID."},
		{"name", "text", false, ""},
		{"secret", "maybe text", false, "When it is made, and never again."},
		{"status", "one of active, pending", false, "The active one signs."},
		{"last_modified", "time", false, ""},
	}},
	{Name: "secret_request", Open: true, Fields: []Field{{"Name", "name 255", false, ""}}},
	{Name: "secret_update", Open: true, Fields: []Field{{"Name", "maybe name 255", false, ""}, {"Status", "maybe one of active, pending", false, ""}}},
}
