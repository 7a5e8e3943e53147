package explain

import (
	"fmt"
	"slices"
	"strings"
)

// term is a subject or a reason: its number and its name, and for subjects who
// usually acts, for reasons what usually helps.
type term struct{ code, name, more string }

// subjects are the subject codes. SGP.22 v2.5, 5.2.6.1.
var subjects = []term{
	{"1", "generic", Admin},
	{"1.1", "function requester", Operator},
	{"1.2", "function provider", Admin},
	{"1.3", "protocol", DeviceMaker},
	{"1.3.1", "protocol format", DeviceMaker},
	{"1.3.2", "protocol version", DeviceMaker},
	{"1.4", "external resource", Admin},
	{"1.5", "extension resource", Admin},
	{"1.6", "function", Operator},
	{"8", "eUICC remote provisioning", Admin},
	{"8.1", "eUICC", EUICCMaker},
	{"8.1.1", "EID", Operator},
	{"8.1.2", "EUM certificate", EUICCMaker},
	{"8.1.3", "eUICC certificate", EUICCMaker},
	{"8.2", "profile", Operator},
	{"8.2.1", "profile ICCID", Operator},
	{"8.2.5", "profile type", Operator},
	{"8.2.6", "matching ID", Operator},
	{"8.2.7", "confirmation code", User},
	{"8.2.8", "profile policy rules", Operator},
	{"8.2.9", "profile metadata", Operator},
	{"8.2.10", "bound profile package", Admin},
	{"8.8", "SM-DP+", Admin},
	{"8.8.1", "SM-DP+ address", Admin},
	{"8.8.2", "security configuration of the SM-DP+", Admin},
	{"8.8.3", "specification version of the eUICC, as the SM-DP+ sees it", EUICCMaker},
	{"8.8.4", "SM-DP+ certificate", Admin},
	{"8.8.5", "download order", Operator},
	{"8.9", "SM-DS", Admin},
	{"8.9.1", "SM-DS address", Admin},
	{"8.9.2", "security configuration of the SM-DS", Admin},
	{"8.9.3", "specification version of the eUICC, as the SM-DS sees it", EUICCMaker},
	{"8.9.4", "SM-DS certificate", Admin},
	{"8.9.5", "event record", Operator},
	{"8.10", "RSP operation", Admin},
	{"8.10.1", "transaction ID", DeviceMaker},
	{"8.11", "certificate issuer", Admin},
	{"8.11.1", "public key of the CI", Admin},
}

// reasons are the reason codes. SGP.22 v2.5, 5.2.6.2.
var reasons = []term{
	{"1", "access error", "Check that the caller may do this."},
	{"1.1", "unknown", "Check the name or number that was given."},
	{"1.2", "not allowed", "Ask the party that owns it for permission, or use what belongs to the caller."},
	{"2", "format error", "Check how the value is written."},
	{"2.1", "invalid", "Correct the value and send the request again."},
	{"2.2", "mandatory element missing", "Add the missing element and send the request again."},
	{"2.3", "conditional element missing", "Add the element that the other values of the request make necessary."},
	{"3", "conditions not met", "Look at the state of what is named, and change that first."},
	{"3.1", "unsupported", "Use a value that the other side supports, or configure that side for it."},
	{"3.2", "maximum size exceeded", "Send less at once."},
	{"3.3", "already in use", "Choose another value, or release the one that is in use."},
	{"3.4", "invalid destination", "Check the address that the request was meant for."},
	{"3.5", "invalid transition", "Look at the present state and take the steps in their order."},
	{"3.6", "related objects exist", "Remove what depends on it first."},
	{"3.7", "unavailable", "Provide what is missing, or try again later."},
	{"3.8", "refused", "Check the value; if it is right, ask the party that refused it why."},
	{"3.9", "unknown", "Check the value; begin again if it was good before."},
	{"3.10", "invalid association", "Use values that belong together."},
	{"3.11", "value has changed", "Fetch the present value and begin again."},
	{"3.12", "invalid match", "Check both values that were compared."},
	{"4", "processing error", "Look at the log of the party that processed the request."},
	{"4.1", "unsuccessful", "Look at the log of the party that processed the request."},
	{"4.2", "execution error", "Look at the log of the party that processed the request, and try again."},
	{"4.3", "stopped on warning", "Look at the warning, and decide whether to go on without it."},
	{"4.8", "insufficient memory", "Free memory on the eUICC, for example by deleting a profile."},
	{"4.10", "time to live expired", "Order again."},
	{"5", "transport error", "Check the network between the two parties."},
	{"5.1", "inaccessible", "Check the address and the network, and try again."},
	{"6", "security error", "Check keys and certificates of both parties."},
	{"6.1", "verification failed", "Check the certificate and the keys that were used."},
	{"6.3", "expired", "Renew the certificate."},
	{"6.4", "maximum number of attempts exceeded", "Begin with a new order."},
}

// pair is a status code with a meaning of its own.
type pair struct{ code, title, cause, who, next, clause string }

// Clauses of the functions.
const (
	clauseDownloadOrder  = "SGP.22 v2.5, 5.3.1"
	clauseConfirmOrder   = "SGP.22 v2.5, 5.3.2"
	clauseCancelOrder    = "SGP.22 v2.5, 5.3.3"
	clauseReleaseProfile = "SGP.22 v2.5, 5.3.4"
	clauseProgress       = "SGP.22 v2.5, 5.3.5"
	clauseInitiate       = "SGP.22 v2.5, 5.6.1"
	clauseGetBPP         = "SGP.22 v2.5, 5.6.2"
	clauseAuthenticate   = "SGP.22 v2.5, 5.6.3"
	clauseCancelSession  = "SGP.22 v2.5, 5.6.5"
	clauseES11Initiate   = "SGP.22 v2.5, 5.8.1"
	clauseES11Client     = "SGP.22 v2.5, 5.8.2"
	clauseES12Register   = "SGP.22 v2.5, 5.9.1"
	clauseES12Delete     = "SGP.22 v2.5, 5.9.2"
	clauseStatus         = "SGP.22 v2.5, 5.2.6"
)

// pairs are the status codes that a function defines.
var pairs = []pair{
	{
		"8.8.1/3.8", "this is another server's address",
		"The LPA asked for an SM-DP+ address that is not this server's. An LPA sends the address out of the activation code.",
		Admin, "Compare the address in the activation code with the address that the server was started with (--smdp-address). A port counts as part of the name for some servers.", clauseInitiate,
	},
	{
		"8.8.2/3.1", "no common CI to identify the eUICC",
		"The server trusts none of the certificate issuers under which the eUICC can sign. A production eUICC does not know a test CI, and a test eUICC no production CI.",
		Admin, "Compare the eUICC's list of signing CIs (godwit euicc info, or lpac chip info) with the CIs of the server (godwit pki show). Load the missing CI into the server, or use another eUICC.", clauseInitiate,
	},
	{
		"8.8.3/3.1", "specification version not supported",
		"The eUICC announces a version of SGP.22 that the server does not serve. Servers of version 2 refuse eUICCs below version 2.",
		EUICCMaker, "Update the eUICC's firmware if its maker offers that; otherwise the eUICC cannot be served.", clauseInitiate,
	},
	{
		"8.8.4/3.7", "no server certificate that the eUICC can verify",
		"The server has no DPauth certificate of any CI that the eUICC verifies with.",
		Admin, "Get DPauth and DPpb certificates of one of the CIs in the eUICC's verification list, and load them (godwit pki import).", clauseInitiate,
	},
	{
		"8.10.1/3.9", "unknown transaction",
		"The transaction ID is not one of a running download: it has expired, the server was asked out of order, or the ID beside the message is not the one inside it.",
		DeviceMaker, "Start the download again from the beginning. If it happens always, compare the transaction ID in the request with the one inside the signed message.", clauseAuthenticate,
	},
	{
		"8.11.1/3.9", "unknown CI",
		"The certificate of the eUICC's maker comes from a certificate issuer that the server does not trust.",
		Admin, "Load the CI into the server (godwit pki import) if it is to be trusted; otherwise the eUICC cannot be served.", clauseAuthenticate,
	},
	{
		"8.1.2/6.1", "EUM certificate refused",
		"The certificate of the eUICC's maker did not pass: wrong signature, wrong role, or no limits on what it may certify.",
		EUICCMaker, "Look at the server's log, which names the check that failed. The maker of the eUICC has to supply a good certificate.", clauseAuthenticate,
	},
	{
		"8.1.2/6.3", "EUM certificate expired",
		"The certificate of the eUICC's maker is outside its dates.",
		EUICCMaker, "Check the server's clock first. If it is right, only the maker of the eUICC can help.", clauseAuthenticate,
	},
	{
		"8.1.3/6.1", "eUICC certificate refused",
		"The eUICC's certificate did not pass: wrong signature, wrong role, or an EID that its maker may not certify.",
		EUICCMaker, "Look at the server's log, which names the check that failed. The eUICC cannot be served with this certificate.", clauseAuthenticate,
	},
	{
		"8.1.3/6.3", "eUICC certificate expired",
		"The eUICC's certificate is outside its dates.",
		EUICCMaker, "Check the server's clock first. If it is right, the eUICC is at the end of its life.", clauseAuthenticate,
	},
	{
		"8.1/6.1", "eUICC signature refused",
		"What the eUICC signed does not verify, or it signed another server's challenge or address.",
		DeviceMaker, "Start the download again. If it happens always, something between eUICC and server changes the signed message: it must travel byte for byte.", clauseAuthenticate,
	},
	{
		"8.2.6/3.8", "matching ID refused",
		"No order has this matching ID, or it is not meant for this way of downloading. Typing errors, used activation codes and cancelled orders all look like this.",
		Operator, "Compare the activation code with the order letter by letter. A code that was used up needs a new order.", clauseAuthenticate,
	},
	{
		"8.1.1/3.8", "not for this eUICC",
		"The order belongs to another EID, or no order is waiting for this EID.",
		Operator, "Compare the EID of the order with the one of the device (shown in its settings, or by godwit euicc info). Order for the right EID.", clauseAuthenticate,
	},
	{
		"8.2/1.2", "profile not released",
		"The profile has been ordered, but not yet released for download.",
		Operator, "Release the profile (ES2+ releaseProfile, or confirmOrder with the release flag), then download again.", clauseAuthenticate,
	},
	{
		"8.8.5/4.10", "order expired",
		"The time in which the profile could be downloaded is over.",
		Operator, "Order the profile again and hand out the new activation code.", clauseAuthenticate,
	},
	{
		"8.8.5/6.4", "too many attempts to download",
		"The download was tried more often than the server allows, so the order has ended.",
		Operator, "Find out why the attempts failed (the server's events name each of them), then order again.", clauseAuthenticate,
	},
	{
		"8.2.5/4.3", "no eligible profile for this device",
		"The eUICC or the device cannot carry the profile: a capability is missing, a policy rule is forbidden, or the eUICC takes no further profile.",
		Operator, "Look at the server's event for the download, which names what is missing. Order a profile type that fits the eUICC.", clauseAuthenticate,
	},
	{
		"8.1/4.8", "not enough memory on the eUICC",
		"The eUICC reports less free memory than the profile needs.",
		User, "Delete a profile that is no longer used, then download again.", clauseAuthenticate,
	},
	{
		"8.2/3.7", "profile cannot be bound again",
		"The profile was delivered before with another one-time key, and the server does not deliver it twice.",
		Operator, "Cancel the order and order again.", clauseGetBPP,
	},
	{
		"8.2.7/2.2", "confirmation code missing",
		"The order needs a confirmation code and none was sent.",
		User, "Enter the confirmation code that the operator has given separately from the activation code.", clauseGetBPP,
	},
	{
		"8.2.7/3.8", "confirmation code wrong",
		"The confirmation code is not the one of the order.",
		User, "Enter the code again. After too many wrong codes the order ends.", clauseGetBPP,
	},
	{
		"8.2.7/6.4", "too many wrong confirmation codes",
		"The confirmation code was wrong more often than the server allows, so the order has ended.",
		Operator, "Order again, with a new confirmation code.", clauseGetBPP,
	},
	{
		"8.8/3.10", "cancellation for another SM-DP+",
		"The eUICC signed the cancellation for an SM-DP+ with another object identifier.",
		DeviceMaker, "Begin the download again; the LPA mixed two sessions up.", clauseCancelSession,
	},
	{
		"8.9.1/3.8", "this is another SM-DS's address",
		"The LPA asked for an SM-DS address that is not this server's.",
		DeviceMaker, "Check the root SM-DS address that is stored in the eUICC.", clauseES11Initiate,
	},
	{
		"8.9.2/3.1", "no common CI to identify the eUICC at the SM-DS",
		"The SM-DS trusts none of the certificate issuers under which the eUICC can sign.",
		Admin, "Load the CI of the eUICC into the SM-DS, or use another eUICC.", clauseES11Initiate,
	},
	{
		"8.9.3/3.1", "specification version not supported by the SM-DS",
		"The eUICC announces a version of SGP.22 that the SM-DS does not serve.",
		EUICCMaker, "Update the eUICC's firmware if its maker offers that.", clauseES11Initiate,
	},
	{
		"8.9.4/3.7", "no SM-DS certificate that the eUICC can verify",
		"The SM-DS has no DSauth certificate of any CI that the eUICC verifies with.",
		Admin, "Get a DSauth certificate of one of the CIs in the eUICC's verification list.", clauseES11Initiate,
	},
	{
		"8.9.5/3.9", "no such event",
		"The SM-DS has no event with this ID for this EID. It was deleted, or it has expired.",
		Operator, "Nothing is to be done if the profile has been installed. Otherwise register the event again.", clauseES11Client,
	},
	{
		"8.9.5/3.3", "event registered already",
		"The SM-DS has an event with this ID already.",
		Operator, "Choose another matching ID for the order, or delete the old event first.", clauseES12Register,
	},
	{
		"8.9.5/1.2", "event of another server",
		"Only the server that registered an event may delete it.",
		Admin, "Delete the event from the server that registered it.", clauseES12Delete,
	},
	{
		"8.2.1/3.9", "unknown ICCID",
		"The server has no profile with this ICCID.",
		Operator, "Check the ICCID, with its check digit. Import the profile into the stock if it is missing (godwit stock import).", clauseDownloadOrder,
	},
	{
		"8.2.1/3.3", "ICCID already in use",
		"The profile with this ICCID has been ordered before and is not available.",
		Operator, "Order another profile, or cancel the order that holds this one.", clauseDownloadOrder,
	},
	{
		"8.2.1/1.2", "another operator's profile",
		"The profile with this ICCID belongs to another operator.",
		Operator, "Use an ICCID of your own stock. If it is yours, ask the administrator to which operator the client certificate is mapped.", clauseDownloadOrder,
	},
	{
		"8.2.1/2.1", "malformed ICCID",
		"The ICCID is not 19 or 20 digits, or its check digit is wrong.",
		Operator, "Correct the ICCID.", clauseDownloadOrder,
	},
	{
		"8.2.1/3.5", "wrong state for this step",
		"The profile is not in the state that the function needs: the steps are order, confirm, release, download, install.",
		Operator, "Look at the profile's state, and take the step that comes next from there.", clauseReleaseProfile,
	},
	{
		"8.2.5/3.9", "unknown profile type",
		"The server has no profile type of this name.",
		Operator, "Check the name against the list of types (godwit stock types).", clauseDownloadOrder,
	},
	{
		"8.2.5/3.7", "out of stock",
		"No profile of this type is left.",
		Operator, "Import more profiles of the type (godwit stock import), then order again.", clauseDownloadOrder,
	},
	{
		"8.2.5/1.2", "profile type not allowed",
		"This operator may not order profiles of this type.",
		Operator, "Use a type of your own, or ask the administrator for permission.", clauseDownloadOrder,
	},
	{
		"8.2.5/3.8", "profile type refused",
		"The profile with the given ICCID is not of the given type, or the type cannot be ordered now.",
		Operator, "Leave out the type or the ICCID, or name the type that belongs to the ICCID.", clauseDownloadOrder,
	},
	{
		"8.1.1/2.1", "malformed EID",
		"The EID is not 32 digits, or its check digits are wrong.",
		Operator, "Read the EID again from the device or its packaging.", clauseDownloadOrder,
	},
	{
		"8.1.1/2.2", "EID missing",
		"This order needs an EID: without a matching ID, or with an SM-DS, only the EID says whose it is.",
		Operator, "Add the EID, or let the server choose a matching ID.", clauseConfirmOrder,
	},
	{
		"8.1.1/3.10", "EID of another order",
		"The EID differs from the one that the order is linked to.",
		Operator, "Use the EID of the order, or cancel it and order again.", clauseConfirmOrder,
	},
	{
		"8.2.6/2.1", "malformed matching ID",
		"The matching ID has other characters than 0-9, A-Z and hyphens, or is too long.",
		Operator, "Correct the matching ID, or leave it out and let the server choose one.", clauseConfirmOrder,
	},
	{
		"8.2.6/3.3", "matching ID already in use",
		"Another order has this matching ID.",
		Operator, "Choose another matching ID, or leave it out and let the server choose one.", clauseConfirmOrder,
	},
	{
		"8.2.6/3.10", "matching ID of another order",
		"The matching ID does not belong to this ICCID.",
		Operator, "Use the matching ID of the order, or leave it out.", clauseCancelOrder,
	},
	{
		"8.9/5.1", "SM-DS not reachable",
		"The server could not reach the SM-DS to register the event.",
		Admin, "Check the address of the SM-DS and the network, then confirm the order again.", clauseConfirmOrder,
	},
	{
		"8.9/4.2", "SM-DS refused the event",
		"The SM-DS was reached and did not register the event.",
		Admin, "Look at the server's log for the answer of the SM-DS.", clauseConfirmOrder,
	},
	{
		"8.10/4.2", "trouble of the server itself",
		"The server could not carry out the operation for a reason of its own.",
		Admin, "Look at the server's log at that time; then try again.", clauseStatus,
	},
	{
		"1.1/3.9", "caller unknown",
		"The function requester identifier names nobody that the server knows.",
		Operator, "Send the identifier that belongs to the client certificate, or have the administrator set it up.", clauseStatus,
	},
	{
		"1.1/1.2", "caller not allowed",
		"The client certificate may not speak for this function requester identifier.",
		Operator, "Send the identifier that belongs to the client certificate, or have the administrator allow it.", clauseStatus,
	},
	{
		"1.2/3.9", "caller unknown",
		"The function requester identifier names nobody that the server knows.",
		Operator, "Send the identifier that belongs to the client certificate, or have the administrator set it up.", clauseStatus,
	},
	{
		"1.2/1.2", "caller not allowed",
		"The client certificate may not speak for this function requester identifier.",
		Operator, "Send the identifier that belongs to the client certificate, or have the administrator allow it.", clauseStatus,
	},
	{
		"1.6/2.1", "malformed parameter",
		"A member of the request is not written as the function prescribes; the message names it.",
		Operator, "Correct the member and send the request again.", clauseStatus,
	},
	{
		"1.6/2.2", "parameter missing",
		"A member that the function needs is not in the request; the message names it.",
		Operator, "Add the member and send the request again.", clauseStatus,
	},
	{
		"8.2/2.1", "final status not valid",
		"A cancelled profile becomes Available or Unavailable; the request said something else.",
		Operator, "Send Available to put the profile back into the stock, or Unavailable to take it out for good.", clauseCancelOrder,
	},
	{
		"8.2/3.8", "the user said no",
		"The user of the device declined the profile, so it has not been installed.",
		User, "Order again if that was a mistake.", clauseProgress,
	},
	{
		"8.2.8/3.8", "policy rules refused",
		"The device does not allow this operator to install a profile with these policy rules.",
		Operator, "Order a profile without the rules, or have the device's rules authorisation table extended.", clauseProgress,
	},
	{
		"8.2.9/3.11", "metadata has changed",
		"The metadata in the package differs from what the user agreed to.",
		Admin, "The server changed the metadata between the two steps, for example because somebody edited the profile type. Order again.", clauseProgress,
	},
	{
		"8.2.10/4.2", "package refused by the eUICC",
		"The eUICC could not process the bound profile package: a fault in its structure, its protection or one of its profile elements.",
		Admin, "Look at the installation result in the event: it names the profile element. Correct the profile type's template.", clauseProgress,
	},
	{
		"8.1/4.2", "installation failed on the eUICC",
		"The eUICC did not install the profile, for a reason that has no code of its own.",
		EUICCMaker, "Look at the installation result in the event, which is what the eUICC signed.", clauseProgress,
	},
}

// Status explains a status code. A pair that no function defines is put
// together from its two halves, so that every combination has words. It reports
// false when one of the halves is unknown.
func Status(subject, reason string) (Entry, bool) {
	code := subject + "/" + reason
	for _, p := range pairs {
		if p.code == code {
			return Entry{Code: p.code, Title: p.title, Cause: p.cause, Who: p.who, Next: p.next, Clause: p.clause}, true
		}
	}
	s, r := find(subjects, subject), find(reasons, reason)
	if s == nil || r == nil {
		return Entry{}, false
	}
	return Entry{
		Code:  code,
		Title: s.name + ": " + r.name,
		Cause: fmt.Sprintf("The server says %q about the %s. No function defines this combination, so its message is all there is to go by.", r.name, s.name),
		Who:   s.more, Next: r.more, Clause: clauseStatus,
	}, true
}

// Subject explains a subject code alone.
func Subject(code string) (Entry, bool) {
	s := find(subjects, code)
	if s == nil {
		return Entry{}, false
	}
	return Entry{
		Code: "subject " + s.code, Title: s.name,
		Cause: fmt.Sprintf("A subject is half of a status code. This one says that the problem is with: %s.%s", s.name, others(func(p pair) bool { return strings.HasPrefix(p.code, code+"/") })),
		Who:   s.more, Next: "Look at the reason code beside it.", Clause: clauseStatus,
	}, true
}

// Reason explains a reason code alone.
func Reason(code string) (Entry, bool) {
	r := find(reasons, code)
	if r == nil {
		return Entry{}, false
	}
	return Entry{
		Code: "reason " + r.code, Title: r.name,
		Cause: fmt.Sprintf("A reason is half of a status code. This one says of the subject beside it: %s.%s", r.name, others(func(p pair) bool { return strings.HasSuffix(p.code, "/"+code) })),
		Who:   Nobody, Next: r.more, Clause: clauseStatus,
	}, true
}

// others lists the pairs that a half occurs in.
func others(in func(pair) bool) string {
	var out []string
	for _, p := range pairs {
		if in(p) {
			out = append(out, p.code+" "+p.title)
		}
	}
	if len(out) == 0 {
		return ""
	}
	return " Defined combinations: " + strings.Join(out, "; ") + "."
}

func find(table []term, code string) *term {
	i := slices.IndexFunc(table, func(t term) bool { return t.code == code })
	if i < 0 {
		return nil
	}
	return &table[i]
}
