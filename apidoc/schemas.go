package apidoc

import "slices"

// schemas are the objects in answers. Every property is always there.
var schemas = slices.Concat(publishedSchemas, extensionSchemas, callbackSchemas, coreSchemas, koreSchemas, remoteSchemas)

var publishedSchemas = []Schema{
	{Name: "esim_profile", About: "A reserved eSIM profile.", Fields: fields([]Field{
		{"sid", "sid HP", false, ""},
		{"account_sid", "sid AC", false, ""},
		{"iccid", "text?", false, "Known from available on."},
		{"sim_sid", "sid HS?", false, "The Sim, from available on."},
		{"status", "one of new, reserving, available, downloaded, installed, failed", false, ""},
		{"eid", "text?", false, "The eUICC it is for, or the one that took it."},
		{"smdp_plus_address", "text?", false, "Host of the SM-DP+, with its port if that is not 443."},
		{"matching_id", "text?", false, "With GenerateMatchingId, from available on."},
		{"activation_code", "text?", false, "1$host$matching_id; the QR code has LPA: before it."},
		{"error_code", "text?", false, "Why it failed."},
		{"error_message", "text?", false, "Why it failed, in words, and what to do."},
	}, dates, link)},
	{Name: "sim", About: "A SIM card or an installed profile.", Fields: fields([]Field{
		{"sid", "sid HS", false, ""},
		{"unique_name", "text?", false, "Stands in place of the SID everywhere."},
		{"account_sid", "sid AC", false, ""},
		{"iccid", "text", false, ""},
		{"status", "one of new, ready, active, inactive, scheduled", false, ""},
		{"fleet_sid", "sid HF?", false, "While scheduled, the Fleet it still belongs to."},
	}, dates, link, []Field{{"links", "object sim_links", false, ""}})},
	{Name: "sim_links", Fields: []Field{{"billing_periods", "url", false, ""}, {"sim_ip_addresses", "url", false, ""}}},
	{Name: "billing_period", About: "A month of a Sim's subscription.", Fields: fields([]Field{
		{"sid", "sid HB", false, ""},
		{"account_sid", "sid AC", false, ""},
		{"sim_sid", "sid HS", false, ""},
		{"start_time", "time", false, ""},
		{"end_time", "time", false, ""},
		{"period_type", "one of ready, active", false, ""},
	}, dates)},
	{Name: "ip_address", About: "An address of a Sim.", Fields: []Field{
		{"ip_address", "text", false, ""},
		{"ip_address_version", "one of IPv4, IPv6", false, ""},
	}},
	{Name: "fleet", About: "What Sims have in common.", Fields: fields([]Field{
		{"account_sid", "sid AC", false, ""},
		{"sid", "sid HF", false, ""},
		{"unique_name", "text?", false, "Stands in place of the SID everywhere."},
	}, dates, link, []Field{
		{"data_enabled", "bool", false, ""},
		{"data_limit", "int", false, "Megabytes for each Sim and billing period."},
		{"data_metering", "one of payg", false, ""},
		{"sms_commands_enabled", "bool", false, ""},
		{"sms_commands_url", "text?", false, ""},
		{"sms_commands_method", "method", false, ""},
		{"network_access_profile_sid", "sid HA", false, ""},
		{"ip_commands_url", "text?", false, ""},
		{"ip_commands_method", "method", false, ""},
	})},
	{Name: "network_access_profile", About: "Networks that Sims may use.", Fields: fields([]Field{
		{"sid", "sid HA", false, ""},
		{"unique_name", "text?", false, "Stands in place of the SID everywhere."},
		{"account_sid", "sid AC", false, ""},
	}, dates, link, []Field{{"links", "map", false, "networks: the address of the list of networks."}})},
	{Name: "network_access_profile_network", About: "A network of an access profile.", Fields: fields([]Field{
		{"sid", "sid HW", false, "The network's own SID."},
		{"network_access_profile_sid", "sid HA", false, ""},
		{"friendly_name", "text", false, ""},
		{"iso_country", "text", false, "Two letters."},
		{"identifiers", "list of object identifier", false, ""},
	}, link)},
	{Name: "network", About: "A mobile network.", Fields: fields([]Field{
		{"sid", "sid HW", false, ""},
		{"friendly_name", "text", false, ""},
		{"iso_country", "text", false, "Two letters; ZZ for test networks."},
		{"identifiers", "list of object identifier", false, ""},
	}, link)},
	{Name: "identifier", About: "A PLMN. Both codes are text: leading zeros matter.", Fields: []Field{{"mcc", "text", false, ""}, {"mnc", "text", false, ""}}},
	{Name: "sms_command", About: "A short message.", Fields: fields([]Field{
		{"sid", "sid HC", false, ""},
		{"account_sid", "sid AC", false, ""},
		{"sim_sid", "sid HS", false, ""},
		{"payload", "text", false, ""},
		{"status", "one of queued, sent, delivered, received, failed", false, ""},
		{"direction", "one of to_sim, from_sim", false, ""},
	}, dates, link)},
	{Name: "ip_command", About: "A UDP message.", Fields: fields([]Field{
		{"sid", "sid HG", false, ""},
		{"account_sid", "sid AC", false, ""},
		{"sim_sid", "sid HS", false, ""},
		{"sim_iccid", "text", false, ""},
		{"status", "one of queued, sent, received, failed", false, ""},
		{"direction", "one of to_sim, from_sim", false, ""},
		{"device_ip", "text?", false, "Known once sent."},
		{"device_port", "int", false, ""},
		{"payload_type", "one of text, binary", false, ""},
		{"payload", "text", false, ""},
	}, dates, link)},
	{Name: "usage_record", About: "Data used in a period. What is neither filtered nor grouped by is null.", Fields: []Field{
		{"account_sid", "sid AC", false, ""},
		{"sim_sid", "sid HS?", false, ""},
		{"network_sid", "sid HW?", false, ""},
		{"fleet_sid", "sid HF?", false, ""},
		{"iso_country", "text?", false, ""},
		{"period", "object usage_period", false, ""},
		{"data_upload", "int", false, "Octets."},
		{"data_download", "int", false, "Octets."},
		{"data_total", "int", false, "Octets."},
		{"data_total_billed", "number", false, ""},
		{"billed_unit", "text?", false, "A currency; null while nothing is billed."},
	}},
	{Name: "usage_period", Fields: []Field{{"start_time", "time", false, ""}, {"end_time", "time", false, ""}}},
	{Name: "settings_update", About: "A change of the settings on a SIM card.", Fields: fields([]Field{
		{"sid", "sid OB", false, ""},
		{"iccid", "text", false, ""},
		{"sim_sid", "sid HS", false, ""},
		{"status", "one of scheduled, in-progress, successful, failed", false, ""},
		{"packages", "list of object settings_package", false, ""},
		{"date_completed", "time?", false, "Null unless successful."},
	}, dates)},
	{Name: "settings_package", Fields: []Field{{"name", "text", false, ""}, {"version", "text", false, ""}, {"more_info", "text", false, ""}}},
	{Name: "meta", About: "The place of a page in its list. Follow the links as they are.", Fields: []Field{
		{"page", "int", false, ""},
		{"page_size", "int", false, ""},
		{"first_page_url", "url", false, ""},
		{"previous_page_url", "url?", false, ""},
		{"url", "url", false, ""},
		{"next_page_url", "url?", false, "Null on the last page."},
		{"key", "text", false, "The name of the list beside it."},
	}},
	{Name: "failure", About: "Why a request was not carried out.", Fields: []Field{
		{"code", "int", false, "See the table of codes."},
		{"message", "text", false, "Names the parameter and the rule."},
		{"more_info", "url", false, ""},
		{"status", "int", false, "The HTTP status."},
		{"details", "maybe object failure_details", false, "Each refused parameter with its reason."},
	}},
	{Name: "failure_details", Fields: []Field{{"parameters", "maybe map", false, ""}}},
}

// A code of refusals, in words.
type code struct {
	Code, Status int
	About        string
}

var codes = []code{
	{20001, 400, "A parameter is missing or not as it must be; message and details name it."},
	{20003, 401, "The credentials are missing or wrong."},
	{20004, 405, "The path does not know this method."},
	{20404, 404, "There is no such thing in this account."},
	{20409, 409, "What is asked for does not fit what stands."},
	{20429, 429, "Too many requests at a time: repeat it after Retry-After seconds."},
	{20500, 500, "Trouble of the server's own."},
	{20503, 503, "The server cannot work at the moment: repeat it."},
	{83000, 400, "Numbers from 83000 to 83705 are those of the vendors' catalogue, always with status 400: godwit explain CODE says more."},
}
