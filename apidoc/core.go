package apidoc

const coreAccounts = "/2010-04-01/Accounts"

// coreOperations are what is here of the vendor's core API of 2010. Its clients
// write .json behind the paths, which may be left out.
var coreOperations = []Operation{
	{
		Method: "GET", Path: coreAccounts, ID: "ListAccount", Resource: "Accounts", Summary: "Lists the account and its subaccounts",
		Params: fields([]Field{
			{"FriendlyName", "text", false, "Only accounts with this name."},
			{"Status", "one of active, suspended, closed", false, "Only accounts with this status."},
		}, paging),
		Basic: true, Answers: answered(200, "accounts"),
	},
	{
		Method: "POST", Path: coreAccounts, ID: "CreateAccount", Resource: "Accounts", Summary: "Makes a subaccount",
		Params: []Field{{"FriendlyName", "text 64", false, "The time of its making if not given."}, dialect},
		Basic:  true, Answers: answered(201, "account"),
	},
	{
		Method: "GET", Path: coreAccounts + "/{Sid}", ID: "FetchAccount", Resource: "Accounts", Summary: "Shows one account",
		Basic: true, Answers: answered(200, "account"),
	},
	{
		Method: "POST", Path: coreAccounts + "/{Sid}", ID: "UpdateAccount", Resource: "Accounts", Summary: "Renames, suspends or closes an account",
		About: "All credentials of an account that is not active are refused, and those of its subaccounts. An account cannot change its own status.",
		Params: []Field{
			{"FriendlyName", "text 64", false, ""},
			{"Status", "one of active, suspended, closed", false, ""},
			dialect,
		},
		Basic: true, Answers: answered(200, "account"),
	},
	{
		Method: "GET", Path: coreAccounts + "/{AccountSid}/Keys", ID: "ListKey", Resource: "Accounts", Summary: "Lists an account's API keys",
		Params: paging, Basic: true, Answers: answered(200, "keys"),
	},
	{
		Method: "POST", Path: coreAccounts + "/{AccountSid}/Keys", ID: "CreateNewKey", Resource: "Accounts", Summary: "Makes an API key",
		About:  "The secret is shown here and never again.",
		Params: []Field{{"FriendlyName", "text 64", false, ""}}, Basic: true, Answers: answered(201, "key"),
	},
	{
		Method: "GET", Path: coreAccounts + "/{AccountSid}/Keys/{Sid}", ID: "FetchKey", Resource: "Accounts", Summary: "Shows one API key",
		Basic: true, Answers: answered(200, "key"),
	},
	{
		Method: "POST", Path: coreAccounts + "/{AccountSid}/Keys/{Sid}", ID: "UpdateKey", Resource: "Accounts", Summary: "Renames an API key",
		Params: []Field{{"FriendlyName", "text 64", false, "Stays if not given."}}, Basic: true, Answers: answered(200, "key"),
	},
	{
		Method: "DELETE", Path: coreAccounts + "/{AccountSid}/Keys/{Sid}", ID: "DeleteKey", Resource: "Accounts", Summary: "Takes an API key away",
		Basic: true, Answers: answered(204, ""),
	},
}

var dialect = Field{"CallbackDialect", "one of twilio, kore", false, "Ours: whose headers its callbacks carry."}

// corePage is the envelope of lists.
func corePage(key, item string) []Field {
	return []Field{
		{key, "list of object " + item, false, ""},
		{"page", "int", false, ""},
		{"page_size", "int", false, ""},
		{"start", "int", false, ""},
		{"end", "int", false, ""},
		{"uri", "text", false, "Without scheme and host, like the others."},
		{"first_page_uri", "text", false, ""},
		{"next_page_uri", "text?", false, ""},
		{"previous_page_uri", "text?", false, ""},
	}
}

var mailDates = []Field{
	{"date_created", "text", false, "Such as Fri, 05 Apr 2024 11:08:14 +0000."},
	{"date_updated", "text", false, ""},
}

var coreSchemas = []Schema{
	{Name: "accounts", Fields: corePage("accounts", "account")},
	{Name: "account", Fields: fields([]Field{
		{"sid", "sid AC", false, ""},
		{"owner_account_sid", "sid AC", false, "The parent, or the account itself."},
		{"friendly_name", "text", false, ""},
		{"status", "one of active, suspended, closed", false, ""},
		{"type", "one of Full", false, ""},
		{"auth_token", "text", false, ""},
		{"callback_dialect", "one of twilio, kore", false, "Ours."},
		{"uri", "text", false, ""},
		{"subresource_uris", "map", false, ""},
	}, mailDates)},
	{Name: "keys", Fields: corePage("keys", "key")},
	{Name: "key", About: "An API key.", Fields: fields([]Field{
		{"sid", "sid SK", false, ""},
		{"friendly_name", "text", false, ""},
		{"secret", "maybe text", false, "When it is made, and never again."},
	}, mailDates)},
}
