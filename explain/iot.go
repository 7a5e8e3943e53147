package explain

// Clauses of SGP.32.
const (
	clauseEim         = "SGP.32 v1.2, ESipa.GetEimPackage"
	clauseEimResult   = "SGP.32 v1.2, ESipa.ProvideEimPackageResult"
	clausePackage     = "SGP.32 v1.2, 2.11.2.1"
	clauseAssociation = "SGP.32 v1.2, 3.5.1"
	clauseIoT         = "SGP.32 v1.2, 5.9"
	clauseData        = "SGP.32 v1.2, 2.11.2.2"
)

// Results that several functions of SGP.32 share.
var (
	inEmergency    = row{104, "emergency call", "The emergency profile is enabled: a call may be under way.", User, "Try again when the emergency profile has been disabled.", ""}
	commandFailed  = row{7, "command error", "The command is well formed, and yet the eUICC cannot do it in its present state.", Admin, "Ask the eUICC for its state, and compare the command with it.", ""}
	eimNotFound    = row{1, "no such eIM", "The eUICC is not associated with an eIM of this identifier.", Admin, "Ask for the list of eIMs (listEim), and use an identifier from there.", ""}
	eimMemory      = row{1, "not enough memory", "The eUICC has no room for another eIM.", Admin, "Delete an eIM that is no longer used.", ""}
	eimCIUnknown   = row{3, "CI unknown", "The eUICC cannot sign under the CI that the eIM's configuration names.", Admin, "Name a CI from the eUICC's signing list, or none.", ""}
	eimCounter     = row{6, "counter out of range", "The counter in the configuration is above 8388607, or lower than before without a new key.", Admin, "Begin at a lower counter, with a new key where the eUICC knows the eIM already.", ""}
	invalidToken   = row{5, "association token refused", "The configuration brings an association token of its own, which only the eUICC makes.", Admin, "Ask for a token with -1, or leave the field out.", ""}
	eimAssociated  = row{2, "associated already", "The eUICC is associated with an eIM already: with this one, or, for the first one, with any.", Admin, "Have an associated eIM add or update it with a signed package.", ""}
	fallbackInUse  = row{3, "fallback profile enabled", "The profile that has the fallback attribute is enabled.", Admin, "Enable another profile first.", ""}
	noFallback     = row{6, "no fallback profile", "No profile has the fallback attribute.", Admin, "Give it to a profile whose owner allows it (setFallbackAttribute).", ""}
	eidUnknown     = row{2, "EID unknown", "The eIM does not know this eUICC.", Admin, "Register the device with the eIM.", ""}
	eidMalformed   = row{3, "EID malformed", "The EID in the request is malformed.", DeviceMaker, "Correct the IPA.", ""}
	eidMissing     = row{4, "EID missing", "The request has no EID, and the eIM cannot find out whose it is.", DeviceMaker, "Correct the IPA.", ""}
	nothingToReset = row{1, "nothing to delete", "There was nothing to delete.", Nobody, "Nothing is to be done.", ""}
)

// iotFunctions are the functions and results that SGP.32 adds.
var iotFunctions = []es10Function{
	{"eim", "GetEimPackage", []string{"eimpackage"}, clauseEim, false, []row{
		{1, "nothing to do", "The eIM has no package for this eUICC.", Nobody, "Nothing is to be done; poll again later.", ""},
		eidUnknown, eidMalformed, eidMissing,
	}},
	{"provide", "ProvideEimPackageResult", []string{"eimresult", "provideresult"}, clauseEimResult, false, []row{eidUnknown, eidMalformed, eidMissing}},
	{"unprocessed", "EimPackageResultError", []string{"iparesult", "eimpackageresulterror"}, clauseEimResult, false, []row{
		{1, "package malformed", "The IPA could not read the package of the eIM.", Admin, "Compare the package with the specification; the IPA may speak another version.", ""},
		{2, "package unknown", "The IPA does not know this kind of package.", Admin, "Ask the IPA for its capabilities (BF52, tag A8), and send only what it knows.", ""},
	}},
	{"package", "EuiccPackage", []string{"euiccpackage"}, clausePackage, false, []row{
		{3, "EID differs", "The package is for another eUICC.", Admin, "Send the package to the eUICC whose EID it carries.", ""},
		{4, "replayed", "The counter of the package is not greater than the last one: the package was executed before.", Admin, "Ask for the results instead of sending the package again.", ""},
		{6, "counter out of range", "The counter is above 8388607.", Admin, "Give the eIM a new key or association token, which starts the counter again.", ""},
		{15, "package too long", "The package is longer than the eUICC can take.", Admin, "Send the commands in several packages.", ""},
		inEmergency,
	}},
	{"terminated", "processingTerminated", []string{"processingterminated"}, clausePackage, false, []row{
		{1, "result too long", "The results so far leave no room for the next one, for example a list of many profiles.", Admin, "Ask for fewer fields or fewer profiles, or send the commands in several packages.", ""},
		{2, "command unknown or damaged", "The eUICC could not process a command and stopped there; those before it were executed.", Admin, "Compare the command with the specification; the eUICC may speak another version.", ""},
		{3, "interrupted", "The execution was interrupted, for example by a loss of power; the commands before were executed.", Admin, "Ask for the state of the profiles, and send what is missing in a new package.", ""},
	}},
	{"immediate", "ConfigureImmediateEnable", []string{"configureimmediate", "configureimmediateprofileenabling"}, clauseIoT, true, []row{
		{1, "not enough memory", "The eUICC has no room for the configuration.", EUICCMaker, "Leave out the address and the OID of the SM-DP+.", ""},
		eimAssociated, commandFailed,
	}},
	{"immediate enable", "ImmediateEnable", []string{"immediateenable"}, clauseIoT, true, []row{
		{1, "not allowed", "Immediate enabling is not configured, or not for the SM-DP+ that the profile came from.", Admin, "Configure it (configureImmediateEnable), or enable the profile with a package.", ""},
		{4, "no installation before", "No profile was installed since the last reset or challenge.", DeviceMaker, "Ask right after the installation, or have the eIM enable the profile.", ""},
		catBusy,
	}},
	{"add eim", "AddEim", []string{"addeim", "addinitialeim"}, clauseAssociation, true, []row{
		eimMemory, eimAssociated, eimCIUnknown, invalidToken, eimCounter, commandFailed,
	}},
	{"delete eim", "DeleteEim", []string{"deleteeim"}, clauseAssociation, true, []row{
		eimNotFound,
		{2, "done, no eIM is left", "The last eIM was deleted. Whoever holds the device can associate another one now.", Admin, "Associate an eIM before the device leaves your hands, if that was not intended.", ""},
		commandFailed,
	}},
	{"update eim", "UpdateEim", []string{"updateeim"}, clauseAssociation, true, []row{eimNotFound, eimCIUnknown, eimCounter, commandFailed}},
	{"list eim", "ListEim", []string{"listeim"}, clauseAssociation, false, nil},
	{"rollback", "RollbackProfile", nil, clausePackage, true, nil},
	{"profile rollback", "ProfileRollback", []string{"profilerollback"}, clauseIoT, true, []row{
		{1, "not allowed", "The eIM did not allow to go back, or it has the result of the change already.", Nobody, "Nothing is to be done; the profile stays.", ""},
		catBusy, commandFailed,
	}},
	{"set fallback", "SetFallbackAttribute", []string{"setfallback"}, clausePackage, true, []row{
		notFound,
		{2, "fallback not allowed", "The owner of the profile does not let it be the fallback profile (fallbackAllowed in its metadata).", Operator, "Choose another profile, or order one with fallbackAllowed.", ""},
		fallbackInUse,
	}},
	{"unset fallback", "UnsetFallbackAttribute", []string{"unsetfallback"}, clausePackage, true, []row{
		{2, "no fallback profile", "No profile has the fallback attribute.", Nobody, "Nothing is to be done.", ""},
		fallbackInUse, commandFailed,
	}},
	{"fallback", "ExecuteFallbackMechanism", []string{"executefallback"}, clauseIoT, true, []row{
		{2, "not disabled", "The fallback profile is enabled already.", Nobody, "Nothing is to be done.", ""},
		catBusy, noFallback, commandFailed, inEmergency,
	}},
	{"return from fallback", "ReturnFromFallback", []string{"returnfromfallback"}, clauseIoT, true, []row{catBusy, noFallback, commandFailed}},
	{"emergency", "EnableEmergencyProfile", []string{"enableemergency"}, clauseIoT, true, []row{
		{2, "not disabled", "The emergency profile is enabled already.", Nobody, "Nothing is to be done.", ""},
		catBusy,
		{8, "no emergency profile", "No profile on the eUICC is an emergency profile (ecallIndication in its metadata).", Operator, "Order one for the device.", ""},
	}},
	{"end emergency", "DisableEmergencyProfile", []string{"disableemergency"}, clauseIoT, true, []row{
		{2, "not enabled", "The emergency profile is not enabled.", Nobody, "Nothing is to be done.", ""},
		catBusy,
	}},
	{"data", "IpaEuiccData", []string{"ipaeuiccdata", "ipadata"}, clauseData, false, []row{
		{1, "tag list refused", "The request asks for something that it cannot be asked for: the EID and the list of profiles are not in this answer.", Admin, "Correct the tag list; ask for profiles with a package (listProfileInfo).", ""},
		{5, "CI not found", "The eUICC has no certificate under the CI that was named.", Admin, "Name a CI from the eUICC's signing list, or none.", ""},
		inEmergency,
	}},
	{"trigger", "ProfileDownloadTrigger", []string{"profiledownloadtrigger", "downloadtrigger"}, "SGP.32 v1.2, 2.11.2.3", false, []row{inEmergency}},
	{"get certs", "GetCerts", []string{"getcerts"}, clauseIoT, false, []row{
		{1, "CI unknown", "The eUICC has no certificate under this CI.", DeviceMaker, "Name a CI from the eUICC's signing list, or none.", ""},
	}},
	{"connectivity", "GetConnectivityParameters", []string{"connectivityparameters"}, clauseIoT, false, []row{
		{1, "no parameters", "No profile is enabled, or the enabled one brings no parameters.", Nobody, "Use the parameters that the device is configured with.", ""},
	}},
	{"reset eim", "ResetEimConfigData", []string{"reseteim"}, clauseIoT, true, []row{
		nothingToReset,
		{2, "not supported", "The eUICC does not let its eIMs be reset.", EUICCMaker, "Have an associated eIM delete them.", ""},
	}},
	{"reset immediate", "ResetImmediateEnableConfig", []string{"resetimmediate"}, clauseIoT, true, []row{
		{1, "not supported", "The eUICC does not let this configuration be reset.", EUICCMaker, "Have the eIM configure it anew.", ""},
	}},
}
