package explain

import (
	"slices"
	"strings"
)

// undefined is the result 127, which every function of an eUICC may give.
var undefined = row{127, "undefined error", "The eUICC gave no reason.", EUICCMaker, "Try again. If it stays, the maker of the eUICC can read its trace.", ""}

// authenticateErrors are the errors of AuthenticateServer.
var authenticateErrors = []row{
	{1, "server certificate invalid", "The eUICC could not verify the DPauth (DSauth) certificate: wrong issuer, wrong signature or wrong role.", Admin, "Compare the certificate with the CI in the answer (godwit pki show). A certificate of a CI that was replaced looks like this too.", clauseES10Authenticate},
	{2, "server signature invalid", "The certificate is good, but its key did not sign what the eUICC received.", Admin, "Check that the private key belongs to the certificate, and that nothing changes serverSigned1 on its way.", clauseES10Authenticate},
	{3, "unsupported curve", "The eUICC does not know the elliptic curve of the server's certificate.", Admin, "Use certificates of the other curve for this eUICC.", clauseES10Authenticate},
	{4, "no session", "The eUICC did not give out a challenge before, or something discarded it.", DeviceMaker, "The LPA has to ask for a challenge first (GetEUICCChallenge) and must not reset the eUICC in between.", clauseES10Authenticate},
	{5, "wrong OID", "The object identifier in the server's certificate is not the expected one, for example that of the activation code.", Operator, "Compare the OID in the activation code with that of the SM-DP+ (godwit pki show).", clauseES10Authenticate},
	{6, "challenge does not match", "The server signed another challenge than the one that the eUICC gave out.", DeviceMaker, "Start the download again. If it happens always, the LPA mixes two sessions up.", clauseES10Authenticate},
	{7, "CI key unknown", "The eUICC cannot sign under the CI that the server chose.", Admin, "Choose a CI from the eUICC's signing list; a server that takes it from euiccInfo1 cannot make this mistake.", clauseES10Authenticate},
	{127, "undefined error", "The eUICC gave no reason.", EUICCMaker, "Try again. If it stays, the maker of the eUICC can read its trace.", clauseES10Authenticate},
}

// downloadErrors are the errors of PrepareDownload.
var downloadErrors = []row{
	{1, "profile binding certificate invalid", "The eUICC could not verify the DPpb certificate, or its object identifier is not that of DPauth.", Admin, "Check that DPauth and DPpb come from the same CI and carry the same OID (godwit pki show).", clauseES10Prepare},
	{2, "server signature invalid", "The certificate is good, but its key did not sign smdpSigned2 together with the eUICC's own signature.", Admin, "Check that the private key belongs to the DPpb certificate.", clauseES10Prepare},
	{3, "unsupported curve", "The eUICC does not know the elliptic curve of the DPpb certificate.", Admin, "Use certificates of the other curve for this eUICC.", clauseES10Prepare},
	{4, "no session", "The eUICC is not in a session: AuthenticateServer did not come before, or something discarded it.", DeviceMaker, "Start the download again, without resetting the eUICC in between.", clauseES10Prepare},
	{5, "transaction ID differs", "The transaction ID is not the one of AuthenticateServer.", DeviceMaker, "Start the download again. If it happens always, the LPA mixes two sessions up.", clauseES10Prepare},
	{127, "undefined error", "The eUICC gave no reason. Some eUICCs answer so when a confirmation code was needed and not given.", EUICCMaker, "Try again, with the confirmation code if there is one.", clauseES10Prepare},
}

// cancelReasons are the reasons of a cancelled download.
var cancelReasons = []row{
	{0, "the user said no", "The user declined the profile. The order has ended.", User, "Order again if that was a mistake.", clauseES10Cancel},
	{1, "postponed", "The user wants to install the profile later. The order stays good.", User, "Use the same activation code again later.", clauseES10Cancel},
	{2, "no answer from the user", "The user did not answer in time. The order stays good.", User, "Use the same activation code again.", clauseES10Cancel},
	{3, "policy rules not allowed", "The device does not allow this operator to install a profile with these policy rules.", Operator, "Order a profile without the rules, or have the device's rules authorisation table extended.", clauseES10Cancel},
	{4, "metadata differs", "The metadata in the package is not what the user agreed to.", Admin, "The server changed the metadata between the two steps. Order again.", clauseES10Cancel},
	{5, "package could not be loaded", "The eUICC broke off the loading of the package, and the LPA gave up.", Admin, "Look at the installation result of the same transaction; it says why.", clauseES10Cancel},
	{16, "session aborted", "The session was broken off, in version 3 also by the server.", DeviceMaker, "Start the download again.", "SGP.22 v3.0, 5.7.14"},
	{17, "enterprise profiles not allowed", "The device does not take enterprise profiles.", Operator, "Order a profile that is not an enterprise profile.", "SGP.22 v3.0, 5.7.14"},
	{18, "enterprise rule not allowed", "An enterprise rule of the profile is not allowed on the device.", Operator, "Order a profile without the rule.", "SGP.22 v3.0, 5.7.14"},
	{19, "enterprise profile not allowed", "This enterprise profile may not be installed on the device.", Operator, "Ask who owns the device.", "SGP.22 v3.0, 5.7.14"},
	{20, "enterprise OID differs", "The enterprise object identifier is not the one of the profiles that are installed.", Operator, "Use profiles of one enterprise.", "SGP.22 v3.0, 5.7.14"},
	{21, "enterprise rule error", "The enterprise rules of the profile contradict each other.", Operator, "Correct the profile type.", "SGP.22 v3.0, 5.7.14"},
	{22, "enterprise profiles only", "The device takes enterprise profiles only.", Operator, "Order an enterprise profile.", "SGP.22 v3.0, 5.7.14"},
	{23, "LPR not supported", "The profile needs a proxy function that the device does not have.", Operator, "Order a profile without it.", "SGP.22 v3.0, 5.7.14"},
	{24, "LPR network data not allowed", "The device does not allow the network data of the proxy.", Operator, "Order a profile without it.", "SGP.22 v3.0, 5.7.14"},
	{25, "profile or provider name empty", "Profile name or service provider name is empty, and the device needs them.", Operator, "Set both names in the profile type.", "SGP.22 v3.0, 5.7.14"},
	{27, "remote management disabled", "Remote management of the profile is switched off.", User, "Allow remote management on the device.", "SGP.22 v3.0, 5.7.14"},
	{28, "remote management package invalid", "The remote management package is damaged.", Admin, "Send the package again.", "SGP.22 v3.0, 5.7.14"},
	{29, "remote management not executed", "The eUICC broke off a remote management package.", Admin, "Look at its result.", "SGP.22 v3.0, 5.7.14"},
	{127, "unknown reason", "The LPA gave no reason.", DeviceMaker, "Look at the LPA's own log.", clauseES10Cancel},
}

// bppCommands are the parts of a bound profile package.
var bppCommands = []string{
	"the opening of the secure channel", "the set-up of the profile's security domain", "the metadata",
	"the second part of the metadata", "the replacement of the session keys", "the profile elements",
}

// installErrors are the reasons in a profile installation result.
var installErrors = []row{
	{1, "incorrect input", "The package has a wrong value.", Admin, "Compare the package with the specification; the command says which part.", clausePIR},
	{2, "server signature invalid", "The server's signature over its one-time key does not verify.", Admin, "Check that the DPpb key is the one of the certificate that was sent in the step before.", clausePIR},
	{3, "transaction ID differs", "The package is for another transaction.", DeviceMaker, "Start the download again; the LPA or the server mixed two sessions up.", clausePIR},
	{4, "key type not supported", "The package asks for another key type or length than AES with 16 octets.", Admin, "The server has to send key type 88 and length 10.", clausePIR},
	{5, "operation not supported", "The package is not marked for the installation of a profile.", Admin, "The server has to send remote operation 1.", clausePIR},
	{6, "profile class not supported", "The eUICC takes no profiles of this class, for example no test profiles.", Operator, "Order a profile of another class.", clausePIR},
	{7, "package structure", "The protected segments are out of order, too long or damaged.", Admin, "Segments have at most 1020 octets and come in their order. Look for something between server and eUICC that cuts messages.", clausePIR},
	{8, "package security", "A segment's authentication code is wrong: keys, counter or chaining value differ between server and eUICC.", Admin, "Start the download again. If it happens always, compare host ID, EID and counter in the server's key derivation.", clausePIR},
	{9, "ICCID on the eUICC already", "A profile with this ICCID is installed on the eUICC.", User, "Nothing is to be done if it is the same profile; otherwise delete the old one and order again.", clausePIR},
	{10, "not enough memory", "The eUICC has not enough free memory for the profile.", User, "Delete a profile that is no longer used, then order again.", clausePIR},
	{11, "interrupted", "The installation was interrupted, for example by a loss of power or a reset.", User, "Order again, and keep the device powered.", clausePIR},
	{12, "profile element refused", "The eUICC could not process one of the profile's elements. The response beside it says which, and why.", Operator, "Look up the status of the profile element (godwit explain pe 9, for example), and correct the profile type's template.", clausePIR},
	{13, "data mismatch", "The ICCID in the package is not the one in the metadata.", Admin, "The server personalised the package wrongly. Check the profile type's template.", clausePIR},
	{14, "test profile with a foreign key", "The eUICC takes test profiles only with the published test key, and this profile has another one.", Operator, "Use the test key in test profiles, or make the profile an operational one.", clausePIR},
	{15, "policy rules not allowed", "The eUICC does not allow this operator to install a profile with these policy rules.", Operator, "Order a profile without the rules, or have the rules authorisation table of the eUICC extended.", clausePIR},
	{127, "unknown error", "The eUICC gave no reason.", EUICCMaker, "Try again with a new order. If it stays, the maker of the eUICC can read its trace.", clausePIR},
}

// peStatuses are the results of profile elements.
var peStatuses = []row{
	{0, "done", "The profile element was processed.", Nobody, "Nothing is to be done.", clausePE},
	{1, "profile element not supported", "The eUICC does not know this kind of profile element.", Operator, "Leave the element out, or mark it as not mandatory.", clausePE},
	{2, "memory failure", "The eUICC could not write to its memory.", EUICCMaker, "Try again with a new order. If it stays, the chip is worn or broken.", clausePE},
	{3, "bad values", "The element has values that contradict each other or the specification.", Operator, "Look at the element with the identification in the response, and correct the template.", clausePE},
	{4, "not enough memory", "The eUICC has not enough free memory for the element.", User, "Delete a profile that is no longer used, or order a smaller profile.", clausePE},
	{5, "element malformed", "The element could not be decoded.", Operator, "Check the template (godwit stock types check it at import).", clausePE},
	{6, "invalid parameter", "A parameter of the element is not valid, for example a file identifier or an application's install parameter.", Operator, "Look at the element with the identification in the response, and correct the template.", clausePE},
	{7, "runtime not supported", "The element holds an application for a runtime (Java Card, MULTOS) that the eUICC does not have in this version.", Operator, "Use a profile without the application for this eUICC.", clausePE},
	{8, "library not supported", "The application needs a library that the eUICC does not have.", Operator, "Use a profile without the application for this eUICC.", clausePE},
	{9, "template not supported", "The element builds on a file system template that the eUICC does not know.", Operator, "Use an older version of the template, or files without a template.", clausePE},
	{10, "feature not supported", "The element needs a feature that the eUICC does not have, for example an authentication algorithm.", Operator, "Compare the header's mandatory services with the capabilities of the eUICC.", clausePE},
	{11, "PIN code missing", "A file or application is protected by a PIN that the profile does not define.", Operator, "Add the PIN to the template.", clausePE},
	{31, "profile version not supported", "The eUICC does not take packages of this version.", Operator, "Make the package for the version that the eUICC announces (godwit euicc info).", clausePE},
}

// Clauses of the eUICC's functions.
const (
	clauseES10Authenticate = "SGP.22 v2.5, 5.7.13"
	clauseES10Prepare      = "SGP.22 v2.5, 5.7.5"
	clauseES10Cancel       = "SGP.22 v2.5, 5.7.14"
	clausePIR              = "SGP.22 v2.5, 2.5.6"
	clausePE               = "TCA profile package, PEStatus"
)

// es10Function is a function of the eUICC with its results.
type es10Function struct {
	name    string   // as Find takes it
	full    string   // as the specification calls it
	aliases []string // other names that people type
	clause  string
	zero    bool // 0 is success
	results []row
}

func (f *es10Function) named(s string) bool {
	if s == f.name || s == strings.ToLower(f.full) {
		return true
	}
	for _, a := range f.aliases {
		if s == a {
			return true
		}
	}
	return false
}

// Results that several functions share.
var (
	notFound = row{1, "no such profile", "No profile on the eUICC has this ICCID or AID.", User, "List the profiles (godwit lpa list, or lpac profile list) and use an ICCID from there.", ""}
	catBusy  = row{5, "eUICC busy", "A toolkit command of the present profile is under way, so the eUICC cannot switch now.", DeviceMaker, "Try again after some seconds. The LPA should end the toolkit session first.", ""}
	byPolicy = row{3, "not allowed by policy", "A policy rule of a profile forbids it: PPR1 forbids disabling, PPR2 forbids deleting.", Operator, "Only the operator of the profile can lift the rule.", ""}
)

// es10Functions are the functions that answer with a number.
var es10Functions = slices.Concat(rspFunctions, iotFunctions)

// rspFunctions are those of SGP.22.
var rspFunctions = []es10Function{
	{"enable", "EnableProfile", nil, "SGP.22 v2.5, 5.7.16", true, []row{
		notFound,
		{2, "not disabled", "The profile is enabled already.", Nobody, "Nothing is to be done.", ""},
		byPolicy,
		{4, "wrong profile re-enabled", "After a test profile only the profile that was enabled before it may be enabled again.", User, "Enable that profile first.", ""},
		catBusy,
		{20, "no rollback", "The eUICC cannot promise to return to the present profile.", DeviceMaker, "Enable without rollback.", "SGP.32 v1.2"},
	}},
	{"disable", "DisableProfile", nil, "SGP.22 v2.5, 5.7.17", true, []row{
		notFound,
		{2, "not enabled", "The profile is disabled already.", Nobody, "Nothing is to be done.", ""},
		byPolicy, catBusy,
	}},
	{"delete", "DeleteProfile", nil, "SGP.22 v2.5, 5.7.18", true, []row{
		notFound,
		{2, "not disabled", "The profile is enabled, and only a disabled one can be deleted.", User, "Disable the profile first.", ""},
		byPolicy,
		{20, "no rollback", "The profile is needed for a rollback that is under way.", DeviceMaker, "Wait until the rollback has been decided.", "SGP.32 v1.2"},
		{21, "profile to return to", "The fallback profile is enabled, and this is the profile to return to afterwards.", Admin, "Return from fallback first (ReturnFromFallback), or enable another profile.", "SGP.32 v1.2"},
	}},
	{"reset", "eUICCMemoryReset", []string{"memoryreset", "memory-reset"}, "SGP.22 v2.5, 5.7.19", true, []row{
		{1, "nothing to delete", "There was nothing to delete.", Nobody, "Nothing is to be done.", ""},
		catBusy,
		{104, "emergency call", "An emergency call is under way.", User, "Wait until it has ended.", "SGP.32 v1.2"},
	}},
	{"nickname", "SetNickname", nil, "SGP.22 v2.5, 5.7.21", true, []row{notFound}},
	{"setaddress", "SetDefaultDpAddress", []string{"setdefaultdp", "set-default-dp", "default-dp"}, "SGP.22 v2.5, 5.7.4", true, nil},
	{"remove", "RemoveNotificationFromList", []string{"removenotification", "notificationsent"}, "SGP.22 v2.5, 5.7.11", true, []row{
		{1, "nothing to delete", "There is no notification with this number; it was removed before.", Nobody, "Nothing is to be done.", ""},
	}},
	{"notifications", "ListNotification", []string{"list-notification"}, "SGP.22 v2.5, 5.7.9", false, nil},
	{"retrieve", "RetrieveNotificationsList", []string{"retrievenotifications"}, "SGP.22 v2.5, 5.7.10", false, nil},
	{"profiles", "GetProfilesInfo", []string{"list", "profileinfo"}, "SGP.22 v2.5, 5.7.15", false, []row{
		{1, "incorrect input", "The search or the list of tags in the request is malformed.", DeviceMaker, "Correct the request of the LPA.", ""},
		{11, "profile change under way", "Profiles are being changed, so the list would be wrong at once.", DeviceMaker, "Ask again after the change.", "SGP.32 v1.2"},
	}},
	{"loadcrl", "LoadCRL", nil, "SGP.22 v2.5, 5.7.12", false, []row{
		{1, "signature invalid", "The signature of the revocation list does not verify.", Admin, "Fetch the list again from the CI.", ""},
		{2, "list malformed", "The revocation list could not be decoded.", Admin, "Fetch the list again from the CI.", ""},
		{3, "not enough memory", "The eUICC has no room for the revocation list.", EUICCMaker, "Nothing can be done with this eUICC.", ""},
		{4, "key not found", "The eUICC does not know the CI that signed the list.", Admin, "Send lists of the eUICC's own CIs only.", ""},
		{5, "newer list loaded", "The eUICC has a newer list already.", Nobody, "Nothing is to be done.", ""},
		{6, "base list missing", "The list builds on one that the eUICC does not have.", Admin, "Load the base list first.", ""},
	}},
	{"cancelresponse", "CancelSession", []string{"cancelsession"}, clauseES10Cancel, false, []row{
		{5, "transaction ID differs", "The eUICC has no session with this transaction ID.", DeviceMaker, "Nothing is to be cancelled; start the download again.", ""},
	}},
	{"es9 initiate", "InitiateAuthentication", nil, clauseInitiate, false, []row{
		{1, "address refused", "The ASN.1 form of status code 8.8.1/3.8: the address is another server's.", Admin, "See 8.8.1/3.8.", ""},
		{2, "version not supported", "The ASN.1 form of status code 8.8.3/3.1: the server does not serve this version of eUICC.", EUICCMaker, "See 8.8.3/3.1.", ""},
		{3, "no common CI", "The ASN.1 form of status codes 8.8.2/3.1 and 8.8.4/3.7: server and eUICC have no CI in common.", Admin, "See 8.8.2/3.1.", ""},
		{50, "another SM-DP+", "The IPA wants another SM-DP+ than the one of its order.", DeviceMaker, "Use the address of the trigger.", "SGP.32 v1.2, ESipa.InitiateAuthentication"},
		{51, "another OID", "The OID of the SM-DP+ is not the one in the activation code.", Operator, "Compare the OID in the activation code with that of the SM-DP+ (godwit pki show).", "SGP.32 v1.2, ESipa.InitiateAuthentication"},
		{52, "order unknown", "The eIM does not know the eimTransactionId: its order is over, or another eIM's.", DeviceMaker, "Poll again, and use the identifier of the trigger.", "SGP.32 v1.2, ESipa.InitiateAuthentication"},
	}},
	{"es9 authenticate", "AuthenticateClient", nil, clauseAuthenticate, false, []row{
		{1, "EUM certificate invalid", "The ASN.1 form of status code 8.1.2/6.1.", EUICCMaker, "See 8.1.2/6.1.", ""},
		{2, "EUM certificate expired", "The ASN.1 form of status code 8.1.2/6.3.", EUICCMaker, "See 8.1.2/6.3.", ""},
		{3, "eUICC certificate invalid", "The ASN.1 form of status code 8.1.3/6.1.", EUICCMaker, "See 8.1.3/6.1.", ""},
		{4, "eUICC certificate expired", "The ASN.1 form of status code 8.1.3/6.3.", EUICCMaker, "See 8.1.3/6.3.", ""},
		{5, "eUICC signature invalid", "The ASN.1 form of status code 8.1/6.1.", DeviceMaker, "See 8.1/6.1.", ""},
		{6, "matching ID refused", "The ASN.1 form of status code 8.2.6/3.8.", Operator, "See 8.2.6/3.8.", ""},
		{7, "not for this eUICC", "The ASN.1 form of status code 8.1.1/3.8.", Operator, "See 8.1.1/3.8.", ""},
		{8, "no eligible profile", "The ASN.1 form of status code 8.2.5/4.3.", Operator, "See 8.2.5/4.3.", ""},
		{9, "CI unknown", "The ASN.1 form of status code 8.11.1/3.9.", Admin, "See 8.11.1/3.9.", ""},
		{10, "unknown transaction", "The ASN.1 form of status code 8.10.1/3.9.", DeviceMaker, "See 8.10.1/3.9.", ""},
		{11, "not enough memory", "The ASN.1 form of status code 8.1/4.8.", User, "See 8.1/4.8.", ""},
		{50, "policy rules not allowed", "The device does not allow this operator to install a profile with these policy rules.", Operator, "Order a profile without the rules.", "SGP.32 v1.2, ESipa.AuthenticateClient"},
		{56, "event unknown", "The SM-DS does not know the event.", Operator, "Poll again; the event may have been fetched before.", "SGP.32 v1.2, ESipa.AuthenticateClient"},
	}},
	{"es9 package", "GetBoundProfilePackage", nil, clauseGetBPP, false, []row{
		{1, "eUICC signature invalid", "The ASN.1 form of status code 8.1/6.1.", DeviceMaker, "See 8.1/6.1.", ""},
		{2, "confirmation code missing", "The ASN.1 form of status code 8.2.7/2.2.", User, "See 8.2.7/2.2.", ""},
		{3, "confirmation code wrong", "The ASN.1 form of status code 8.2.7/3.8.", User, "See 8.2.7/3.8.", ""},
		{4, "too many wrong confirmation codes", "The ASN.1 form of status code 8.2.7/6.4.", Operator, "See 8.2.7/6.4.", ""},
		{5, "profile cannot be bound again", "The ASN.1 form of status code 8.2/3.7.", Operator, "See 8.2/3.7.", ""},
		{6, "order expired", "The ASN.1 form of status code 8.8.5/4.10.", Operator, "See 8.8.5/4.10.", ""},
		{95, "unknown transaction", "The ASN.1 form of status code 8.10.1/3.9.", DeviceMaker, "See 8.10.1/3.9.", ""},
		{50, "metadata differs", "The metadata in the package is not what was offered before.", Admin, "The SM-DP+ changed the metadata between the two steps. Order again.", "SGP.32 v1.2, ESipa.GetBoundProfilePackage"},
	}},
	{"es9 cancel", "CancelSession (ES9+)", nil, clauseCancelSession, false, []row{
		{1, "unknown transaction", "The ASN.1 form of status code 8.10.1/3.9.", DeviceMaker, "See 8.10.1/3.9.", ""},
		{2, "eUICC signature invalid", "The ASN.1 form of status code 8.1/6.1.", DeviceMaker, "See 8.1/6.1.", ""},
	}},
}

// statusWords are the status words of the eUICC's transport. SGP.22 v2.5,
// 5.7.2; ISO 7816-4.
var statusWords = []row{
	{0x9000, "done", "The command was carried out.", Nobody, "Nothing is to be done.", clauseTransport},
	{0x9100, "done, with a proactive command", "The command was carried out, and the card wants to send a proactive command, as after a change of profile.", Nobody, "Let the device fetch the command.", clauseTransport},
	{0x6100, "more to fetch", "The answer is waiting to be fetched with GET RESPONSE.", Nobody, "Fetch it; the second octet says how much there is, 00 for 256 or more.", clauseTransport},
	{0x6700, "wrong length", "The length of the command is wrong.", DeviceMaker, "Correct the LPA's command.", clauseTransport},
	{0x6881, "no logical channel", "The logical channel is not open, or the card does not support it.", DeviceMaker, "Open a channel with MANAGE CHANNEL first.", clauseTransport},
	{0x6982, "security status", "The card wants another authentication first, or the LPA is not let through to the eUICC.", DeviceMaker, "Check that the device lets the application reach the ISD-R.", clauseTransport},
	{0x6985, "wrong state", "The command does not fit the state of the eUICC, for example while a package is being loaded.", DeviceMaker, "Take the steps in their order; begin the session again with GetEUICCChallenge.", clauseTransport},
	{0x6A80, "wrong data", "The data of the command could not be decoded.", DeviceMaker, "Compare the command with the specification.", clauseTransport},
	{0x6A82, "not found", "There is no such application or file. For the ISD-R it means that the card is no eUICC, or is not powered for it.", User, "Check that the card is an eUICC.", clauseTransport},
	{0x6A84, "no room", "There is not enough memory on the card.", User, "Delete a profile that is no longer used.", clauseTransport},
	{0x6A86, "wrong parameters", "P1 or P2 of the command is wrong.", DeviceMaker, "Correct the LPA's command.", clauseTransport},
	{0x6A88, "unknown data object", "The eUICC does not know the tag at the beginning of the command.", DeviceMaker, "The function belongs to another version of the specification, or the package was cut at the wrong place.", clauseTransport},
	{0x6C00, "wrong expected length", "The expected length is wrong; the second octet is the right one.", Nobody, "Send the command again with that length.", clauseTransport},
	{0x6D00, "unknown instruction", "The card does not know the instruction.", DeviceMaker, "Check the instruction, and that the ISD-R is selected.", clauseTransport},
	{0x6E00, "unknown class", "The card does not know the class of the command.", DeviceMaker, "Check the class, and that the ISD-R is selected.", clauseTransport},
	{0x6F00, "no diagnosis", "The card gave no reason.", EUICCMaker, "Reset the card and try again.", clauseTransport},
}

const clauseTransport = "SGP.22 v2.5, 5.7.2"
