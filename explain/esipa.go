package explain

// eimUndefined is the error without a reason of all functions of an eIM.
var eimUndefined = row{127, "undefined error", "The eIM gave no reason.", Admin, "Look at the log of the eIM.", ""}

// esipaFunctions are functions of an eIM that answer with a number.
var esipaFunctions = []es10Function{
	{"eim-initiate", "InitiateAuthentication", nil, "SGP.32 v1.2, ESipa.InitiateAuthentication", false, []row{
		{1, "address not valid", "The SM-DP+ does not have the address.", Operator, "Compare the activation code with the one from the SM-DP+.", ""},
		{2, "eUICC too old", "The SM-DP+ does not support the version of the eUICC.", Admin, "Use another SM-DP+ for this eUICC.", ""},
		{3, "no common CI", "SM-DP+ and eUICC have no CI in common.", Admin, "Give the SM-DP+ a certificate of a CI that the eUICC knows.", ""},
		{50, "another SM-DP+", "The address is not the one of the order at the eIM.", Admin, "Compare the activation code of the order.", ""},
		{51, "another OID", "The SM-DP+ has another object identifier than the activation code says.", Operator, "Compare the OID in the activation code with that of the SM-DP+.", ""},
		{52, "order unknown", "The eIM does not know the download that the IPA speaks of.", Operator, "Order the download again.", ""},
	}},
	{"eim-authenticate", "AuthenticateClient", nil, "SGP.32 v1.2, ESipa.AuthenticateClient", false, []row{
		{6, "matching ID refused", "The SM-DP+ does not know the matching identifier, or it was used.", Operator, "Order again and use the new activation code.", ""},
		{7, "another EID", "The order at the SM-DP+ is for another eUICC.", Operator, "Order for this EID.", ""},
		{8, "no profile fits", "The SM-DP+ has no profile for this eUICC or device.", Operator, "Order a profile that fits.", ""},
		{10, "transaction unknown", "The SM-DP+ does not know the transaction; it took too long.", Nobody, "The IPA tries again.", ""},
		{11, "not enough memory", "The eUICC has not enough free memory.", User, "Delete a profile that is no longer used.", ""},
		{50, "policy rules not allowed", "The eIM does not allow the policy rules of the profile.", Operator, "Order a profile without the rules.", ""},
	}},
	{"eim-get-profile", "GetBoundProfilePackage", nil, "SGP.32 v1.2, ESipa.GetBoundProfilePackage", false, []row{
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
	if function == "GetEimPackage" || function == "ProvideEimPackageResult" {
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
