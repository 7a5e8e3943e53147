package saip

import (
	"strings"
	"sync"

	"godwit/tlv"
)

// Application identifiers of ETSI TS 101 220: the USIM and ISIM of 3GPP, for no
// country and no provider in particular.
var (
	aidUSIM = []byte{0xA0, 0, 0, 0, 0x87, 0x10, 0x02, 0xFF, 0xFF, 0xFF, 0xFF, 0x89, 0, 0, 0x01, 0}
	aidISIM = []byte{0xA0, 0, 0, 0, 0x87, 0x10, 0x04, 0xFF, 0xFF, 0xFF, 0xFF, 0x89, 0, 0, 0x01, 0}
)

// Codes that a directory knows. PIN2 exists within applications.
var (
	pinsOfMF  = []byte{refPIN1, refADM1, refADM2}
	pinsOfADF = []byte{refPIN1, refPIN2, refADM1, refADM2}
)

// MinimalUSIM returns our smallest template: one USIM with Milenage, and
// nothing that a network does not need.
var MinimalUSIM = sync.OnceValue(func() *Template {
	return mustTemplate("minimal-usim", "Godwit minimal USIM", []Capability{SupportsUSIM, SupportsMilenage}, []*node{
		masterFile(1, directoryRecord(aidUSIM, "USIM")),
		pukCodes(2, pin{reference: refPIN1, value: "00000000"}, pin{reference: refPIN2, value: "00000000"}),
		globalCodes(3),
		element(KindUSIM, 4, 1, usimFiles(minimalServices)),
		pinCodes(5, secondPIN),
		akaParameter(6),
		endOf(7),
	})
})

// FullUSIM returns our template for LTE and 5G: USIM and ISIM, telecom, GSM
// access and 5GS files, and a security domain without keys, which profiles
// bring along if they are to be managed over the air.
var FullUSIM = sync.OnceValue(func() *Template {
	return mustTemplate("full-usim-isim", "Godwit LTE and 5G USIM with ISIM", []Capability{SupportsUSIM, SupportsISIM, SupportsMilenage}, []*node{
		masterFile(1, directoryRecord(aidUSIM, "USIM"), directoryRecord(aidISIM, "ISIM")),
		pukCodes(2, pin{reference: refPIN1, value: "00000000"}, pin{reference: refPIN2, value: "00000000"}),
		globalCodes(3),
		element(KindTelecom, 4, 1, telecomFiles()),
		pinCodes(5, secondPIN),
		element(KindUSIM, 6, 1, usimFiles(fullServices)),
		element(KindOptUSIM, 7, 1, optionalUSIMFiles()),
		pinCodes(8, secondPIN),
		akaParameter(9),
		element(KindGSMAccess, 10, 1, map[string]content{
			"df-gsm-access": {pinStatus: pinsOfADF},
			"ef-kc":         octets(filled8(0xFF, 0x07)...),
			"ef-kcgprs":     octets(filled8(0xFF, 0x07)...),
		}),
		element(KindDF5GS, 11, 1, fiveGFiles()),
		element(KindDFSAIP, 12, 1, map[string]content{
			"df-df-saip":             {pinStatus: pinsOfADF},
			"ef-suci-calc-info-usim": {length: suciSize, data: [][]byte{nullSUCI}},
		}),
		element(KindISIM, 13, 1, isimFiles()),
		element(KindOptISIM, 14, 1, map[string]content{
			"ef-pcscf": {length: 64, records: 2, data: [][]byte{{0xFF}}},
			"ef-sms":   {records: 10},
			"ef-smsp":  {},
			"ef-smss":  {},
		}),
		pinCodes(15, secondPIN),
		akaParameter(16),
		securityDomain(17),
		endOf(18),
	})
})

// Templates returns the templates that come with the program.
func Templates() []*Template { return []*Template{MinimalUSIM(), FullUSIM()} }

// mustTemplate assembles a template of ours. That each is valid is held by a
// test, so that a refusal is a mistake of ours.
func mustTemplate(name, profileType string, services []Capability, elements []*node) *Template {
	der := header(profileType, services, elements).append(nil)
	for _, n := range elements {
		der = n.append(der)
	}
	t, err := NewTemplate(name, der)
	if err != nil {
		panic(err)
	}
	return t
}

// masterFile holds EF.ICCID, EF.DIR and the access rules.
func masterFile(id int, applications ...[]byte) *node {
	dir := content{records: len(applications), data: applications}
	for _, a := range applications {
		dir.length = max(dir.length, len(a))
	}
	dir.length = max(dir.length, 38)
	return element(KindMF, id, 1, map[string]content{
		"mf":       {pinStatus: pinsOfMF},
		"ef-pl":    octets(0xFF, 0xFF),
		"ef-iccid": octets(0x98, 0, 0, 0, 0, 0, 0, 0, 0, 0x40),
		"ef-dir":   dir,
		"ef-arr":   arr(),
		"ef-umpc":  octets(0x3C, 0x3C, 0, 0, 0), // 60 mA at most, no time-out asked for
	})
}

// globalCodes are PIN1, which is there but not asked for (attributes: not
// enabled, may be enabled, unblockable), and two administrative codes.
func globalCodes(id int) *node {
	return pinCodes(id,
		pin{reference: refPIN1, value: "0000", puk: refPIN1, attributes: 6},
		pin{reference: refADM1, value: "00000000", attributes: 3, tries: 0xAA},
		pin{reference: refADM2, value: "00000000", attributes: 3, tries: 0xAA})
}

// secondPIN is PIN2 of an application.
var secondPIN = pin{reference: refPIN2, value: "0000", puk: refPIN2, attributes: 3}

// Services of EF.UST. TS 31.102, 4.2.8.
var (
	minimalServices = []int{10, 12, 19, 33, 85}
	fullServices    = []int{
		2,          // fixed dialling numbers
		10, 11, 12, // short messages, their reports, their parameters
		17, 18, 19, 20, 21, // group identifiers, provider name, preferred networks, MSISDN
		27, 28, 29, 33, 38, // GSM access, data download, shall be set, GSM security context
		42, 43, 45, 46, 51, // operator's and home networks with access technology, names, provider display
		71, 73, 74, // equivalent home networks and how they are shown, last RPLMN
		85, 96, // EPS mobility information, NAS configuration
		122, 123, 124, 126, // 5GS mobility, 5G security, SUCI, unified access control
	}
)

// usimFiles are the files of the USIM template that a package must or had better
// spell out; the others are what the template makes them.
func usimFiles(services []int) map[string]content {
	return map[string]content{
		"adf-usim":  {aid: aidUSIM, id: 0x7FD0, pinStatus: pinsOfADF},
		"ef-imsi":   octets(0x08, 0x09, 0x10, 0x10, 0, 0, 0, 0, 0x10),
		"ef-arr":    arr(),
		"ef-hpplmn": octets(0x0A),
		"ef-ust":    {length: 17, data: table(17, services...).data},
		"ef-spn":    {data: [][]byte{append([]byte{0x01}, "Godwit"...)}, pattern: []byte{0xFF}},
		"ef-est":    octets(0),
		"ef-acc":    octets(0, 0x01),
		"ef-ad":     octets(0, 0, 0, 2),
		"ef-ecc":    {records: 2, length: 14, data: [][]byte{emergency("112"), emergency("911")}},
	}
}

// emergency is a record of EF.ECC: the number in three octets, no name, no
// category. TS 31.102, 4.2.21.
func emergency(number string) []byte {
	out := []byte{(number[0] - '0') | (number[1]-'0')<<4, 0xF0 | (number[2] - '0'), 0xFF}
	return append(out, strings.Repeat("\xFF", 10)+"\x00"...)
}

func telecomFiles() map[string]content {
	return map[string]content{
		"df-telecom": {pinStatus: pinsOfADF},
		"ef-arr":     arr(),
		"ef-psismsc": {records: 1, length: 64, data: [][]byte{{0xFF}}},
	}
}

func optionalUSIMFiles() map[string]content {
	networks := func(n int) content { return content{length: 5 * n, data: [][]byte{emptyNetworks(n)}} }
	return map[string]content{
		"ef-li":        {},
		"ef-gid1":      {length: 8, data: [][]byte{{0xFF}}},
		"ef-gid2":      {length: 8, data: [][]byte{{0xFF}}},
		"ef-msisdn":    {},
		"ef-plmnwact":  networks(40),
		"ef-oplmnwact": networks(40),
		"ef-hplmnwact": networks(2),
		"ef-smsr":      {},
		"ef-pnn":       {records: 2, length: 24, data: [][]byte{{0xFF}}},
		"ef-opl":       {records: 2, data: [][]byte{{0xFF}}},
		"ef-spdi":      {data: [][]byte{{0xFF}}},
		"ef-ehplmn":    {},
		"ef-ehplmnpi":  octets(0),
		"ef-lrplmnsi":  octets(0),
		"ef-nasconfig": {length: 32, data: [][]byte{{0xFF}}},
	}
}

// emptyNetworks is a list of networks with access technology, all empty.
func emptyNetworks(n int) []byte {
	out := make([]byte, 5*n)
	fillRepeat(out, []byte{0xFF, 0xFF, 0xFF, 0, 0})
	return out
}

// suciSize is room for two keys of 65 octets with their schemes.
const suciSize = 160

// nullSUCI says that the SUPI is not concealed: the null scheme, no keys.
var nullSUCI = []byte{0xA0, 2, 0, 0, 0xA1, 0}

func fiveGFiles() map[string]content {
	return map[string]content{
		"df-df-5gs":            {pinStatus: pinsOfADF},
		"ef-5gs3gpploci":       {data: [][]byte{mustHex("FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000001")}},
		"ef-5gsn3gpploci":      {data: [][]byte{mustHex("FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000001")}},
		"ef-5gs3gppnsc":        {},
		"ef-5gsn3gppnsc":       {},
		"ef-5gauthkeys":        {data: [][]byte{{0xFF}}},
		"ef-uac-aic":           octets(0, 0, 0, 0),
		"ef-suci-calc-info":    {length: suciSize, data: [][]byte{nullSUCI}},
		"ef-routing-indicator": octets(0xF0, 0xFF, 0xFF, 0xFF),
	}
}

func isimFiles() map[string]content {
	return map[string]content{
		"adf-isim":  {aid: aidISIM, id: 0x7FB0, pinStatus: pinsOfADF},
		"ef-impi":   {length: 80, data: [][]byte{appendURI(nil, "001010000000001@ims.mnc001.mcc001.3gppnetwork.org")}},
		"ef-impu":   {length: 80, records: 2, data: [][]byte{appendURI(nil, "sip:001010000000001@ims.mnc001.mcc001.3gppnetwork.org")}},
		"ef-domain": {length: 64, data: [][]byte{appendURI(nil, "ims.mnc001.mcc001.3gppnetwork.org")}},
		"ef-ist":    table(14, 1, 6, 8), // P-CSCF address, short messages over IP
		"ef-ad":     octets(0, 0, 0),
		"ef-arr":    arr(),
	}
}

// filled8 is eight octets of one value and one of another.
func filled8(all, last byte) []byte {
	out := []byte{all, all, all, all, all, all, all, all}
	return append(out, last)
}

// securityDomain is the operator's domain (MNO-SD) of GlobalPlatform. Without
// keys nobody can manage the profile over the air; keys that everybody knows
// would let everybody.
func securityDomain(id int) *node {
	const (
		// Privileges of GlobalPlatform, 6.6.1.
		domainAndCVM = 0x80 | 0x02                                            // security domain, PIN management
		management   = 0x80 | 0x40 | 0x10 | 0x08 | 0x04                       // trusted path, authorised management, global delete, lock, registry
		personalised = 0x0F                                                   // life cycle
		scp80        = "\x81\x02\x80\x00\x82\x01\xF0\x83\x01\xF0\x87\x01\xF0" // ETSI TS 102 226: SCP80; who may be extradited to and from, and delete
	)
	return branch(tlv.Tag(KindSecurityDomain), peHeader(id), branch(0xA1,
		leaf(0x4F, 0xA0, 0, 0, 0x01, 0x51, 0x53, 0x50),
		leaf(0x4F, 0xA0, 0, 0, 0x01, 0x51, 0x53, 0x50, 0x41),
		leaf(0x4F, 0xA0, 0, 0, 0x01, 0x51, 0, 0, 0),
		leaf(0x82, domainAndCVM, management, 0),
		leaf(0x83, personalised),
		leaf(0xC9, []byte(scp80)...),
		// Access and toolkit parameters: TAR B20100, no channels, no menu.
		branch(0xEA, leaf(0x80, mustHex("010000000002010206B2010000000000")...)),
	))
}
