package saip

import (
	"fmt"

	"godwit/tlv"
)

// A Kind says what a profile element makes. Its value is the element's tag.
type Kind tlv.Tag

// The kinds of SAIP 3.3.1.
const (
	KindHeader         Kind = 0xA0
	KindGenericFiles   Kind = 0xA1
	KindPINCodes       Kind = 0xA2
	KindPUKCodes       Kind = 0xA3
	KindAKA            Kind = 0xA4
	KindCDMA           Kind = 0xA5
	KindSecurityDomain Kind = 0xA6
	KindRFM            Kind = 0xA7
	KindApplication    Kind = 0xA8
	KindNonStandard    Kind = 0xA9
	KindEnd            Kind = 0xAA
	KindMF             Kind = 0xB0
	KindCD             Kind = 0xB1
	KindTelecom        Kind = 0xB2
	KindUSIM           Kind = 0xB3
	KindOptUSIM        Kind = 0xB4
	KindISIM           Kind = 0xB5
	KindOptISIM        Kind = 0xB6
	KindPhonebook      Kind = 0xB7
	KindGSMAccess      Kind = 0xB8
	KindCSIM           Kind = 0xB9
	KindOptCSIM        Kind = 0xBA
	KindEAP            Kind = 0xBB
	KindDF5GS          Kind = 0xBC
	KindDFSAIP         Kind = 0xBD
	KindDFSNPN         Kind = 0xBE
	KindDF5GProSe      Kind = 0xBF1F
	KindIoT            Kind = 0xBF20
	KindOptIoT         Kind = 0xBF21
)

var kindNames = map[Kind]string{
	KindHeader: "header", KindGenericFiles: "genericFileManagement", KindPINCodes: "pinCodes", KindPUKCodes: "pukCodes",
	KindAKA: "akaParameter", KindCDMA: "cdmaParameter", KindSecurityDomain: "securityDomain", KindRFM: "rfm",
	KindApplication: "application", KindNonStandard: "nonStandard", KindEnd: "end", KindMF: "mf", KindCD: "cd",
	KindTelecom: "telecom", KindUSIM: "usim", KindOptUSIM: "opt-usim", KindISIM: "isim", KindOptISIM: "opt-isim",
	KindPhonebook: "phonebook", KindGSMAccess: "gsm-access", KindCSIM: "csim", KindOptCSIM: "opt-csim", KindEAP: "eap",
	KindDF5GS: "df-5gs", KindDFSAIP: "df-saip", KindDFSNPN: "df-snpn", KindDF5GProSe: "df-5gprose", KindIoT: "iot", KindOptIoT: "opt-iot",
}

func (k Kind) String() string {
	if name, ok := kindNames[k]; ok {
		return name
	}
	return fmt.Sprintf("unknown element %s", tlv.Tag(k))
}
