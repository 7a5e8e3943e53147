package explain

import "slices"

// es10Functions are the functions of the eUICC that answer with a number.
var es10Functions = slices.Concat(sgp22Functions, sgp32Functions)

// Results that several of its functions share.
var (
	eimMemory     = row{1, "no room", "The eUICC has no room for another eIM.", Operator, "Delete an eIM that is no longer used.", ""}
	eimAssociated = row{2, "associated already", "The eUICC has an eIM already (with this identifier).", Operator, "Let the present eIM add or update it; only an eUICC without eIM takes a first one.", ""}
	eimCI         = row{3, "CI unknown", "The eUICC has no certificate of the CI that the configuration names.", Admin, "Name a CI from the eUICC's signing list, or none.", ""}
	eimToken      = row{5, "token not valid", "The association token is not one that the eUICC takes: it makes the tokens itself.", Admin, "Leave the token out, or ask for one with -1.", ""}
	eimCounter    = row{6, "counter out of range", "The counter is above 8388607, or smaller than the one that counts.", Admin, "Give the eIM another key; then the counter may begin anew.", ""}
	commandFailed = row{7, "command error", "The eUICC cannot make sense of the command.", Admin, "Compare the eIM configuration with SGP.32: it needs a public key or a certificate.", ""}
	notFallback   = row{6, "no fallback profile", "No profile has the fallback attribute, or the eUICC is not in fallback.", Operator, "Set the fallback attribute by a package first.", ""}
)

// sgp32Functions are those that SGP.32 adds.
var sgp32Functions = []es10Function{
	{"add-initial-eim", "AddInitialEim", []string{"addeim", "add-eim"}, "SGP.32 v1.2, 5.9.4", true, []row{
		eimMemory, eimAssociated, eimCI, eimToken, eimCounter, commandFailed,
	}},
	{"get-certs", "GetCerts", nil, "SGP.32 v1.2, 5.9.5", false, []row{
		{1, "CI unknown", "The eUICC has no certificate of this CI.", Admin, "Name a CI from the eUICC's signing list, or none.", ""},
	}},
	{"rollback", "ProfileRollback", nil, "SGP.32 v1.2, 5.9.16", true, []row{
		{1, "not allowed", "The last package did not enable a profile with rollback, or the eIM has its result already.", Nobody, "Nothing is to be done.", ""},
		catBusy, commandFailed,
	}},
	{"immediate-enable", "ImmediateEnable", nil, "SGP.32 v1.2, 5.9.17", true, []row{
		{1, "not allowed", "The eIM did not allow it for profiles of this SM-DP+.", Operator, "Configure immediate enabling by a package, or enable the profile by one.", ""},
		{4, "no session", "No profile was installed since the eUICC was started.", Operator, "Enable the profile by a package.", ""},
		catBusy,
	}},
	{"fallback", "ExecuteFallbackMechanism", nil, "SGP.32 v1.2, 5.9.21", true, []row{
		{2, "not disabled", "The fallback profile is enabled already.", Nobody, "Nothing is to be done.", ""},
		catBusy, notFallback, commandFailed,
		{104, "emergency call", "An emergency call is under way.", User, "Wait until it has ended.", ""},
	}},
	{"return-from-fallback", "ReturnFromFallback", nil, "SGP.32 v1.2, 5.9.22", true, []row{catBusy, notFallback, commandFailed}},
}

// eimUndefined is the error without a reason of all functions of an eIM.
var eimUndefined = row{127, "undefined error", "The eIM gave no reason.", Admin, "Look at the log of the eIM.", ""}

// esipaFunctions are functions of an eIM that answer with a number.
var esipaFunctions = []es10Function{
	{"eim-result", "ProvideEimPackageResult", nil, "SGP.32 v1.2, 5.14.6", false, []row{
		{2, "EID unknown", "The eIM does not know the eUICC.", Operator, "Register the device, or its EID, with the eIM that it asks.", ""},
		{3, "EID not valid", "The eIM does not take the EID for one.", DeviceMaker, "Compare the EID with the one that is printed; its last two digits are check digits.", ""},
		{4, "EID missing", "The request had no EID, and the eIM could not find it out from the result.", DeviceMaker, "The IPA has to send the EID.", ""},
	}},
	{"eim-initiate", "InitiateAuthentication", nil, "SGP.32 v1.2, 5.14.1", false, []row{
		{1, "address not valid", "The SM-DP+ does not have the address.", Operator, "Compare the activation code with the one from the SM-DP+.", ""},
		{2, "eUICC too old", "The SM-DP+ does not support the version of the eUICC.", Admin, "Use another SM-DP+ for this eUICC.", ""},
		{3, "no common CI", "SM-DP+ and eUICC have no CI in common.", Admin, "Give the SM-DP+ a certificate of a CI that the eUICC knows.", ""},
		{50, "another SM-DP+", "The address is not the one of the order at the eIM.", Admin, "Compare the activation code of the order.", ""},
		{51, "another OID", "The SM-DP+ has another object identifier than the activation code says.", Operator, "Compare the OID in the activation code with that of the SM-DP+.", ""},
		{52, "order unknown", "The eIM does not know the download that the IPA speaks of.", Operator, "Order the download again.", ""},
	}},
	{"eim-authenticate", "AuthenticateClient", nil, "SGP.32 v1.2, 5.14.2", false, []row{
		{6, "matching ID refused", "The SM-DP+ does not know the matching identifier, or it was used.", Operator, "Order again and use the new activation code.", ""},
		{7, "another EID", "The order at the SM-DP+ is for another eUICC.", Operator, "Order for this EID.", ""},
		{8, "no profile fits", "The SM-DP+ has no profile for this eUICC or device.", Operator, "Order a profile that fits.", ""},
		{10, "transaction unknown", "The SM-DP+ does not know the transaction; it took too long.", Nobody, "The IPA tries again.", ""},
		{11, "not enough memory", "The eUICC has not enough free memory.", User, "Delete a profile that is no longer used.", ""},
		{50, "policy rules not allowed", "The eIM does not allow the policy rules of the profile.", Operator, "Order a profile without the rules.", ""},
	}},
	{"eim-get-profile", "GetBoundProfilePackage", nil, "SGP.32 v1.2, 5.14.3", false, []row{
		{2, "confirmation code missing", "The SM-DP+ wants a confirmation code, and there is none.", Operator, "Give the code with the order.", ""},
		{3, "confirmation code wrong", "The SM-DP+ refused the confirmation code.", Operator, "Compare the code with the one from the operator.", ""},
		{4, "too many wrong codes", "The SM-DP+ has ended the order.", Operator, "Order again.", ""},
		{6, "order expired", "The SM-DP+ has ended the order.", Operator, "Order again.", ""},
		{50, "metadata differ", "The package is not what the SM-DP+ offered.", Admin, "Order again.", ""},
		{95, "transaction unknown", "The SM-DP+ does not know the transaction; it took too long.", Nobody, "The IPA tries again.", ""},
	}},
}

// ESipa explains the number that a function of an eIM answered with, by the name
// of the function in SGP.32.
func ESipa(function string, n int) (Entry, bool) {
	if function == "GetEimPackage" {
		return ES10(function, n)
	}
	for i := range esipaFunctions {
		f := &esipaFunctions[i]
		if f.full != function {
			continue
		}
		e, ok := lookup(f.results, f.name, n)
		if !ok && n == eimUndefined.n {
			e, ok = eimUndefined.entry(f.name), true
		}
		e.Clause = f.clause
		return e, ok
	}
	return Entry{}, false
}
