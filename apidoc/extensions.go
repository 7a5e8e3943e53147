package apidoc

// extended marks operations that the hosted services do not have.
func extended(operations []Operation) []Operation {
	for i := range operations {
		operations[i].Extension = true
	}
	return operations
}

const orders = "/v1/ESimProfiles/Orders"

var orderOperations = []Operation{
	{
		Method: "GET", Path: orders, ID: "ListOrder", Resource: "Orders", Summary: "Lists orders, newest first",
		Params:  fields([]Field{{"Status", "text", false, "Only orders with this status."}}, paging),
		Answers: listed("order", "orders"),
	},
	{
		Method: "POST", Path: orders, ID: "CreateOrder", Resource: "Orders", Summary: "Orders many profiles",
		About: "A form with Count, or a file of lines as text/csv with the other parameters in the query. With DryRun=true nothing is ordered and the answer says what would be.",
		Params: fields([]Field{
			{"Count", "int 1 to 1000000", false, "How many profiles; not with a file."},
			{"ProfileType", "text 100", false, "The type of the profiles; the server's own choice if not given."},
			{"GenerateMatchingId", "bool", false, "Whether each has an activation code."},
			{"Label", "text 255", false, "A word of the customer's for the order."},
			{"Partial", "bool", false, "Whether to take the order although the stock is too small for it; the surplus fails with 83500."},
			{"DryRun", "bool", false, "Whether only to check."},
			{"CallbackPer", "one of order, profile", false, "Whether to call back once for the order or for each profile; order if not given."},
		}, told),
		Files:   []string{"text/csv"},
		Answers: []Answer{{Status: 201, Schema: "order"}, {Status: 200, Schema: "order_plan"}},
	},
	{
		Method: "GET", Path: orders + "/{Sid}", ID: "FetchOrder", Resource: "Orders", Summary: "Shows one order and how far it is",
		Answers: answered(200, "order"),
	},
	{
		Method: "POST", Path: orders + "/{Sid}", ID: "UpdateOrder", Resource: "Orders", Summary: "Cancels what an order has not done yet",
		Params:  []Field{{"Status", "one of canceled", true, "canceled is all that may be asked for."}},
		Answers: answered(200, "order"),
	},
	{
		Method: "GET", Path: orders + "/{Sid}/Errors", ID: "ListOrderError", Resource: "Orders", Summary: "Lists what has failed, in the order of the items",
		Params: []Field{
			{"PageSize", "int 1 to 1000", false, "Items in a page, 50 if not given."},
			{"After", "int 0 to 1000000", false, "Only items behind this one."},
		},
		Answers: answered(200, "order_errors"),
	},
	{
		Method: "GET", Path: orders + "/{Sid}/Results.csv", ID: "FetchOrderCsv", Resource: "Orders", Summary: "The results as a table",
		Answers: []Answer{{Status: 200, Type: "text/csv"}},
	},
	{
		Method: "GET", Path: orders + "/{Sid}/Results.zip", ID: "FetchOrderZip", Resource: "Orders", Summary: "The table and a QR code for each profile",
		Params:  []Field{{"Image", "one of svg, png", false, "Only images of this kind."}},
		Answers: []Answer{{Status: 200, Type: "application/zip"}},
	},
	{
		Method: "GET", Path: orders + "/{Sid}/Results.pdf", ID: "FetchOrderPdf", Resource: "Orders", Summary: "A sheet of QR codes for printing",
		Params: []Field{
			{"From", "int 1 to 1000000", false, "The first item; needed when the order is longer than a sheet holds."},
			{"Count", "int", false, "How many items."},
		},
		Answers: []Answer{{Status: 200, Type: "application/pdf"}},
	},
}

var charged = []Field{
	{"OrderSid", "text", false, "Only charges of this order."},
	{"StartTime", "time", false, "Only charges from this time on."},
	{"EndTime", "time", false, "Only charges before this time."},
}

var chargeOperations = []Operation{
	{
		Method: "GET", Path: "/v1/Charges", ID: "ListCharge", Resource: "Charges", Summary: "Lists charges, newest first",
		Params: fields(charged, paging), Answers: listed("charge", "charges"),
	},
	{
		Method: "GET", Path: "/v1/Charges.csv", ID: "ExportCharges", Resource: "Charges", Summary: "Charges as a table",
		Params: charged, Answers: []Answer{{Status: 200, Type: "text/csv"}},
	},
	{Method: "GET", Path: "/v1/Prices", ID: "ListPrice", Resource: "Charges", Summary: "Lists the account's prices", Answers: answered(200, "prices")},
}

var extensionSchemas = []Schema{
	{Name: "order", Extension: true, About: "An order of many profiles.", Fields: fields([]Field{
		{"sid", "text", false, ""},
		{"account_sid", "sid AC", false, ""},
		{"status", "text", false, ""},
		{"label", "text?", false, ""},
		{"count", "int", false, "How many profiles were ordered."},
		{"available", "int", false, "How many became available."},
		{"failed", "int", false, ""},
		{"canceled", "int", false, ""},
	}, dates, link, []Field{{"links", "map", false, "errors, results_csv, results_zip, results_pdf"}})},
	{Name: "usage_import", Extension: true, About: "What became of an import of usage.", Fields: []Field{
		{"account_sid", "sid AC", false, ""},
		{"lines", "int", false, ""},
		{"repeated", "bool", false, "Whether it was imported before, so that nothing was counted again."},
	}},
	{Name: "data_limit_callback", Extension: true, About: "Where data limits are told.", Fields: []Field{
		{"account_sid", "sid AC", false, ""},
		{"callback_url", "url?", false, ""},
		{"callback_method", "one of GET, POST", false, ""},
	}},
	{Name: "order_plan", Extension: true, About: "What an order would do.", Fields: []Field{
		{"dry_run", "bool", false, ""},
		{"acceptable", "bool", false, "Whether it would be taken and the stock suffices."},
		{"count", "int", false, ""},
		{"lines", "int", false, ""},
		{"profile_types", "list of object order_demand", false, ""},
		{"errors", "list of object order_problem", false, "The first refused lines."},
		{"errors_count", "int", false, ""},
	}},
	{Name: "order_demand", Extension: true, Fields: []Field{
		{"profile_type", "text", false, ""},
		{"count", "int", false, ""},
		{"in_stock", "int?", false, "At most count; null where the SM-DP+ does not tell."},
	}},
	{Name: "order_problem", Extension: true, Fields: []Field{{"line", "int", false, ""}, {"column", "text?", false, ""}, {"message", "text", false, ""}}},
	{Name: "order_errors", Extension: true, Fields: []Field{{"errors", "list of object order_error", false, ""}, {"next_page_url", "url?", false, ""}}},
	{Name: "order_error", Extension: true, Fields: []Field{
		{"line", "int", false, ""},
		{"item", "int", false, ""},
		{"label", "text?", false, ""},
		{"eid", "text?", false, ""},
		{"esim_profile_sid", "sid HP", false, ""},
		{"error_code", "text?", false, ""},
		{"error_message", "text?", false, ""},
	}},
	{Name: "charge", Extension: true, About: "What one profile has cost.", Fields: []Field{
		{"account_sid", "sid AC", false, ""},
		{"esim_profile_sid", "sid HP", false, ""},
		{"sim_sid", "text", false, ""},
		{"iccid", "text", false, ""},
		{"profile_type", "text", false, ""},
		{"order_sid", "text?", false, ""},
		{"amount", "text", false, "A decimal number."},
		{"currency", "text", false, ""},
		{"date_created", "time", false, ""},
	}},
	{Name: "prices", Extension: true, Fields: []Field{{"prices", "list of object price", false, ""}}},
	{Name: "price", Extension: true, Fields: []Field{
		{"profile_type", "text?", false, "Null for all that have no price of their own."},
		{"amount", "text", false, "A decimal number."},
		{"currency", "text", false, ""},
		{"own", "bool", false, "Whether it is the account's own or the general price."},
		{"date_updated", "time", false, ""},
	}},
}

var usageExtensions = []Operation{
	{
		Method: "POST", Path: "/v1/UsageRecords/Imports", ID: "ImportUsage", Resource: "UsageRecords", Summary: "Counts what Sims have used, from a file",
		About:   "The body is a file: text/csv with a heading, or a JSON list of objects. Columns: sim, iccid, imsi or msisdn; time, upload, download; network. All lines are taken or none. The same file again changes nothing. Not for subaccounts.",
		Files:   []string{"text/csv", "application/json"},
		Answers: answered(200, "usage_import"),
	},
	{
		Method: "GET", Path: "/v1/DataLimitCallback", ID: "FetchDataLimitCallback", Resource: "UsageRecords", Summary: "Shows where data limits are told",
		Answers: answered(200, "data_limit_callback"),
	},
	{
		Method: "POST", Path: "/v1/DataLimitCallback", ID: "UpdateDataLimitCallback", Resource: "UsageRecords", Summary: "Sets where data limits are told",
		About:  "The server calls back when a Sim has used up its Fleet's data limit, and when its data service is on again. An empty CallbackUrl ends it.",
		Params: told, Answers: answered(200, "data_limit_callback"),
	},
}
