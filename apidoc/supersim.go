package apidoc

import "slices"

// tables are the operations of all doors.
var tables = [][]Operation{
	slices.Concat(superSIM...), coreOperations, koreOperations, remoteOperations,
}

// superSIM are the operations of the API itself.
var superSIM = [][]Operation{
	profileOperations, simOperations, fleetOperations, accessOperations, networkOperations, commandOperations, usageOperations,
	extended(orderOperations), extended(chargeOperations), extended(callbackOperations), extended(usageExtensions),
}

// resources are the chapters, in the order in which a reader needs them.
var resources = []Resource{
	{"ESimProfiles", "A reserved eSIM profile: ordered from the SM-DP+, waiting for a device, installed on one."},
	{"Sims", "A SIM card or an installed profile: its status, its Fleet, its name."},
	{"Fleets", "What Sims have in common: networks, data limit, commands."},
	{"NetworkAccessProfiles", "The networks that the Sims of a Fleet may use."},
	{"Networks", "The catalogue of mobile networks, the same for every account."},
	{"SmsCommands", "Short messages to devices and from them."},
	{"IpCommands", "UDP messages to devices and from them."},
	{"UsageRecords", "How much data was used, by hour, day or altogether."},
	{"SettingsUpdates", "Changes of the settings on SIM cards."},
	{"Orders", "Orders of many profiles at once."},
	{"Charges", "What profiles cost: one charge for each that became available."},
	{"Callbacks", "The record of what was told to the account's servers, and telling it again."},
	{"Accounts", "Subaccounts and API keys, as the core API of 2010 has them; nothing else of that API is here. With an account's auth token only."},
	{"Tokens", "KORE: access tokens for API clients."},
	{"Clients", "KORE: API clients."},
	{"KORE accounts", "KORE: the account and its children under their names there."},
	{"Webhook secrets", "KORE: what signs callbacks in its dialect."},
	{"Remote Manager", "What users of the Remote Manager API may ask for. Everything under /ws/v1 takes a user's name and password, or an API key of a user."},
	{"Devices", "Remote Manager: the devices in the field."},
	{"eSIMs", "Remote Manager: the eUICCs in them."},
	{"Activation codes", "Remote Manager: codes that are registered ahead of time."},
	{"Profiles", "Remote Manager: profiles as devices report them, and actions on them."},
	{"Operations", "Remote Manager: several steps towards one end."},
	{"Jobs", "Remote Manager: operations and rollouts as jobs of the system."},
	{"Monitors", "Remote Manager: changes told to servers of the account, or kept for a client to fetch."},
	{"Events", "Remote Manager: the audit log."},
	{"Rollouts", "One operation over many devices, in waves."},
	{"Rules", "Operations that begin by themselves."},
	{"Carriers", "Names of carriers."},
	{"Users", "Users of the Remote Manager API, and the account."},
	{"API keys", "Credentials of programs."},
}

// Parts that many operations share.
var (
	paging = []Field{
		{"PageSize", "int 1 to 1000", false, "Items in a page, 50 if not given. More than the maximum counts as the maximum."},
		{"Page", "int 0 to 1073741824", false, "The number of the page, from 0. Without PageToken it counts as an offset."},
		{"PageToken", "text", false, "Where the page begins, from next_page_url or previous_page_url."},
	}
	told = []Field{
		{"CallbackUrl", "url", false, "Where to tell what has become of the request."},
		{"CallbackMethod", "method", false, "How to call CallbackUrl; POST if not given."},
	}
	dates = []Field{
		{"date_created", "time", false, ""},
		{"date_updated", "time", false, ""},
	}
	link = []Field{{"url", "url", false, "The address of this resource."}}
)

func fields(groups ...[]Field) (all []Field) {
	for _, g := range groups {
		all = append(all, g...)
	}
	return all
}

// listed is the answer to a list request.
func listed(schema, key string) []Answer { return []Answer{{Status: 200, Schema: schema, List: key}} }

func answered(status int, schema string) []Answer { return []Answer{{Status: status, Schema: schema}} }

var profileOperations = []Operation{
	{
		Method: "GET", Path: "/v1/ESimProfiles", ID: "ListEsimProfile", Resource: "ESimProfiles", Summary: "Lists reservations, newest first",
		Params: fields([]Field{
			{"Eid", "text", false, "Only those for this eUICC."},
			{"SimSid", "text", false, "Only the one of this Sim, by its SID or unique name."},
			{"Status", "one of new, reserving, available, downloaded, installed, failed", false, "Only those with this status."},
		}, paging),
		Answers: listed("esim_profile", "esim_profiles"),
	},
	{
		Method: "POST", Path: "/v1/ESimProfiles", ID: "CreateEsimProfile", Resource: "ESimProfiles", Summary: "Reserves a profile",
		About: "Give Eid, or GenerateMatchingId=true, or both. The answer is new; the profile is prepared in the background and ends as available or failed. A reservation cannot be changed or deleted.",
		Params: fields([]Field{
			{"Eid", "text", false, "The EID of the eUICC that may download, 32 digits."},
			{"GenerateMatchingId", "bool", false, "Whether to make an activation code; false if not given."},
		}, told),
		Answers: answered(201, "esim_profile"),
	},
	{
		Method: "GET", Path: "/v1/ESimProfiles/{Sid}", ID: "FetchEsimProfile", Resource: "ESimProfiles", Summary: "Shows one reservation",
		Answers: answered(200, "esim_profile"),
	},
}

var simOperations = []Operation{
	{
		Method: "GET", Path: "/v1/Sims", ID: "ListSim", Resource: "Sims", Summary: "Lists Sims, newest first",
		Params: fields([]Field{
			{"Status", "one of new, ready, active, inactive, scheduled", false, "Only Sims with this status."},
			{"Fleet", "text", false, "Only Sims of this Fleet: its SID or unique name."},
			{"Iccid", "text", false, "Only the Sim with this ICCID."},
		}, paging),
		Answers: listed("sim", "sims"),
	},
	{
		Method: "POST", Path: "/v1/Sims", ID: "CreateSim", Resource: "Sims", Summary: "Registers a SIM card",
		About: "The Sim begins as new, without a Fleet.",
		Params: []Field{
			{"Iccid", "text", true, "The ICCID on the card."},
			{"RegistrationCode", "text", true, "The code that came with the card."},
		},
		Answers: answered(201, "sim"),
	},
	{
		Method: "GET", Path: "/v1/Sims/{Sid}", ID: "FetchSim", Resource: "Sims", Summary: "Shows one Sim", About: "By SID or unique name.",
		Answers: answered(200, "sim"),
	},
	{
		Method: "POST", Path: "/v1/Sims/{Sid}", ID: "UpdateSim", Resource: "Sims", Summary: "Names, moves, activates or deactivates a Sim",
		About: "200 when all is done. 202 when the core network must be told first: status is scheduled until it has answered, then the callback comes.",
		Params: fields([]Field{
			{"UniqueName", "text 255", false, "A name to use in place of the SID. Empty takes it away."},
			{"Status", "one of ready, active, inactive", false, "The status to reach. ready and active need a Fleet."},
			{"Fleet", "text", false, "A Fleet by SID or unique name. Empty, or null, takes the Sim out of its Fleet."},
			{"AccountSid", "text", false, "The account to move a new Sim to: the caller's own or one of its subaccounts."},
		}, told),
		Answers: []Answer{{Status: 200, Schema: "sim"}, {Status: 202, Schema: "sim"}},
	},
	{
		Method: "GET", Path: "/v1/Sims/{SimSid}/BillingPeriods", ID: "ListBillingPeriod", Resource: "Sims",
		Summary: "Lists a Sim's billing periods, newest first", Params: paging, Answers: listed("billing_period", "billing_periods"),
	},
	{
		Method: "GET", Path: "/v1/Sims/{SimSid}/IpAddresses", ID: "ListSimIpAddress", Resource: "Sims",
		Summary: "Lists a Sim's IP addresses", Params: paging, Answers: listed("ip_address", "ip_addresses"),
	},
}

var commands = []Field{
	{"SmsCommandsUrl", "url", false, "Where to tell of short messages from devices. Empty takes it away."},
	{"SmsCommandsMethod", "method", false, "How to call SmsCommandsUrl; POST if not given."},
	{"IpCommandsUrl", "url", false, "Where to tell of UDP messages from devices. Empty takes it away."},
	{"IpCommandsMethod", "method", false, "How to call IpCommandsUrl; POST if not given."},
}

var fleetOperations = []Operation{
	{
		Method: "GET", Path: "/v1/Fleets", ID: "ListFleet", Resource: "Fleets", Summary: "Lists Fleets, newest first",
		Params:  fields([]Field{{"NetworkAccessProfile", "text", false, "Only Fleets with this access profile: its SID or unique name."}}, paging),
		Answers: listed("fleet", "fleets"),
	},
	{
		Method: "POST", Path: "/v1/Fleets", ID: "CreateFleet", Resource: "Fleets", Summary: "Makes a Fleet",
		Params: fields([]Field{
			{"NetworkAccessProfile", "text", true, "The networks of its Sims: SID or unique name of an access profile."},
			{"UniqueName", "text 255", false, "A name to use in place of the SID."},
			{"DataEnabled", "bool", false, "Whether its Sims have data; true if not given. Cannot be changed."},
			{"DataLimit", "int 1 to 2000000", false, "Megabytes for each Sim and billing period, 1000 if not given."},
			{"SmsCommandsEnabled", "bool", false, "Whether its Sims have SMS commands; true if not given. Cannot be changed."},
		}, commands),
		Answers: answered(201, "fleet"),
	},
	{
		Method: "GET", Path: "/v1/Fleets/{Sid}", ID: "FetchFleet", Resource: "Fleets", Summary: "Shows one Fleet", About: "By SID or unique name.",
		Answers: answered(200, "fleet"),
	},
	{
		Method: "POST", Path: "/v1/Fleets/{Sid}", ID: "UpdateFleet", Resource: "Fleets", Summary: "Changes a Fleet",
		Params: fields([]Field{
			{"NetworkAccessProfile", "text", false, "The networks of its Sims: SID or unique name of an access profile."},
			{"UniqueName", "text 255", false, "A name to use in place of the SID. Empty takes it away."},
			{"DataLimit", "int 1 to 2000000", false, "Megabytes for each Sim and billing period."},
		}, commands),
		Answers: answered(200, "fleet"),
	},
}

var networkFilters = []Field{
	{"IsoCountry", "text", false, "Only networks of this country, two letters."},
	{"Mcc", "text", false, "Only networks with this mobile country code."},
	{"Mnc", "text", false, "Only networks with this mobile network code, of the same identifier as Mcc."},
}

var accessOperations = []Operation{
	{
		Method: "GET", Path: "/v1/NetworkAccessProfiles", ID: "ListNetworkAccessProfile", Resource: "NetworkAccessProfiles",
		Summary: "Lists access profiles, newest first", Params: paging, Answers: listed("network_access_profile", "network_access_profiles"),
	},
	{
		Method: "POST", Path: "/v1/NetworkAccessProfiles", ID: "CreateNetworkAccessProfile", Resource: "NetworkAccessProfiles", Summary: "Makes an access profile",
		Params: []Field{
			{"UniqueName", "text 255", false, "A name to use in place of the SID."},
			{"Networks", "list of text", false, "SIDs of networks; repeat the parameter."},
		},
		Answers: answered(201, "network_access_profile"),
	},
	{
		Method: "GET", Path: "/v1/NetworkAccessProfiles/{Sid}", ID: "FetchNetworkAccessProfile", Resource: "NetworkAccessProfiles",
		Summary: "Shows one access profile", About: "By SID or unique name.", Answers: answered(200, "network_access_profile"),
	},
	{
		Method: "POST", Path: "/v1/NetworkAccessProfiles/{Sid}", ID: "UpdateNetworkAccessProfile", Resource: "NetworkAccessProfiles", Summary: "Names an access profile",
		Params:  []Field{{"UniqueName", "text 255", false, "A name to use in place of the SID. Empty takes it away."}},
		Answers: answered(200, "network_access_profile"),
	},
	{
		Method: "GET", Path: "/v1/NetworkAccessProfiles/{NetworkAccessProfileSid}/Networks", ID: "ListNetworkAccessProfileNetwork", Resource: "NetworkAccessProfiles",
		Summary: "Lists the networks of an access profile", Params: fields(networkFilters, paging), Answers: listed("network_access_profile_network", "networks"),
	},
	{
		Method: "POST", Path: "/v1/NetworkAccessProfiles/{NetworkAccessProfileSid}/Networks", ID: "CreateNetworkAccessProfileNetwork", Resource: "NetworkAccessProfiles",
		Summary: "Adds a network to an access profile", Params: []Field{{"Network", "text", true, "The SID of a network."}}, Answers: answered(201, "network_access_profile_network"),
	},
	{
		Method: "GET", Path: "/v1/NetworkAccessProfiles/{NetworkAccessProfileSid}/Networks/{Sid}", ID: "FetchNetworkAccessProfileNetwork", Resource: "NetworkAccessProfiles",
		Summary: "Shows one network of an access profile", Answers: answered(200, "network_access_profile_network"),
	},
	{
		Method: "DELETE", Path: "/v1/NetworkAccessProfiles/{NetworkAccessProfileSid}/Networks/{Sid}", ID: "DeleteNetworkAccessProfileNetwork", Resource: "NetworkAccessProfiles",
		Summary: "Takes a network out of an access profile", Answers: answered(204, ""),
	},
}

var networkOperations = []Operation{
	{
		Method: "GET", Path: "/v1/Networks", ID: "ListNetwork", Resource: "Networks", Summary: "Lists networks by country and name",
		Params: fields(networkFilters, paging), Answers: listed("network", "networks"),
	},
	{Method: "GET", Path: "/v1/Networks/{Sid}", ID: "FetchNetwork", Resource: "Networks", Summary: "Shows one network", Answers: answered(200, "network")},
}

var direction = Field{"Direction", "one of to_sim, from_sim", false, "Only commands in this direction."}

var commandOperations = []Operation{
	{
		Method: "GET", Path: "/v1/SmsCommands", ID: "ListSmsCommand", Resource: "SmsCommands", Summary: "Lists short messages, newest first",
		Params: fields([]Field{
			{"Sim", "text", false, "Only messages of this Sim: its SID or unique name."},
			{"Status", "one of queued, sent, delivered, received, failed", false, "Only messages with this status."},
			direction,
		}, paging),
		Answers: listed("sms_command", "sms_commands"),
	},
	{
		Method: "POST", Path: "/v1/SmsCommands", ID: "CreateSmsCommand", Resource: "SmsCommands", Summary: "Sends a short message to a device",
		Params: fields([]Field{
			{"Sim", "text", true, "The Sim: its SID or unique name."},
			{"Payload", "text 160", true, "The text."},
		}, told),
		Answers: answered(201, "sms_command"),
	},
	{Method: "GET", Path: "/v1/SmsCommands/{Sid}", ID: "FetchSmsCommand", Resource: "SmsCommands", Summary: "Shows one short message", Answers: answered(200, "sms_command")},
	{
		Method: "GET", Path: "/v1/IpCommands", ID: "ListIpCommand", Resource: "IpCommands", Summary: "Lists UDP messages, newest first",
		Params: fields([]Field{
			{"Sim", "text", false, "Only messages of this Sim: its SID or unique name."},
			{"SimIccid", "text", false, "Only messages of the Sim with this ICCID."},
			{"Status", "one of queued, sent, received, failed", false, "Only messages with this status."},
			direction,
		}, paging),
		Answers: listed("ip_command", "ip_commands"),
	},
	{
		Method: "POST", Path: "/v1/IpCommands", ID: "CreateIpCommand", Resource: "IpCommands", Summary: "Sends a UDP message to a device",
		Params: fields([]Field{
			{"Sim", "text", true, "The Sim: its SID or unique name."},
			{"Payload", "text", true, "At most 1300 octets: text, or base64 with PayloadType=binary."},
			{"DevicePort", "int 1 to 65535", true, "The UDP port of the device."},
			{"PayloadType", "one of text, binary", false, "How to read Payload; text if not given."},
		}, told),
		Answers: answered(201, "ip_command"),
	},
	{Method: "GET", Path: "/v1/IpCommands/{Sid}", ID: "FetchIpCommand", Resource: "IpCommands", Summary: "Shows one UDP message", Answers: answered(200, "ip_command")},
}

var usageOperations = []Operation{
	{
		Method: "GET", Path: "/v1/UsageRecords", ID: "ListUsageRecord", Resource: "UsageRecords", Summary: "Adds up data usage",
		About: "all reaches over 18 months at most, day over 3 months, hour and Group=sim over 31 days.",
		Params: fields([]Field{
			{"Sim", "text", false, "Only usage of this Sim: its SID or unique name."},
			{"Fleet", "text", false, "Only usage in this Fleet: its SID or unique name."},
			{"Network", "text", false, "Only usage in this network: its SID."},
			{"IsoCountry", "text", false, "Only usage in this country, two letters."},
			{"Group", "one of sim, fleet, network, isoCountry", false, "One record for each of these."},
			{"Granularity", "one of hour, day, all", false, "One record for each of these periods; all if not given."},
			{"StartTime", "time", false, "From this time on; one month before EndTime if not given."},
			{"EndTime", "time", false, "Up to this time; now if not given."},
		}, paging),
		Answers: listed("usage_record", "usage_records"),
	},
	{
		Method: "GET", Path: "/v1/SettingsUpdates", ID: "ListSettingsUpdate", Resource: "SettingsUpdates", Summary: "Lists settings updates, newest first",
		Params: fields([]Field{
			{"Sim", "text", false, "Only updates of this Sim: its SID or unique name."},
			{"Status", "one of scheduled, in-progress, successful, failed", false, "Only updates with this status."},
		}, paging),
		Answers: listed("settings_update", "settings_updates"),
	},
}
