package explain

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"godwit/internal/reference"
	"godwit/pki"
	"godwit/tlv"
)

func TestSchemaParses(t *testing.T) {
	types, err := parseSchema(schemaText)
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range types {
		for k, f := range o {
			if f.kids != "" && types[f.kids] == nil {
				t.Errorf("[%s] %s: there is no type %q", name, k.tag, f.kids)
			}
			if f.kids == "" && k.tag.Constructed() && f.format != "" && f.format != "cert" {
				t.Errorf("[%s] %s: format %q for an element that holds others", name, k.tag, f.format)
			}
			switch f.format {
			case "", "text", "int", "bool", "oid", "eid", "iccid", "digits", "plmn", "version", "cert", "secret":
			case "bits", "enum":
				if len(f.args) == 0 {
					t.Errorf("[%s] %s: no names", name, k.tag)
				}
			case "result":
				if len(f.args) != 1 || !hasResults(f.args[0]) {
					t.Errorf("[%s] %s: nobody explains %q", name, k.tag, f.args)
				}
			default:
				t.Errorf("[%s] %s: format %q", name, k.tag, f.format)
			}
		}
	}
	for _, damaged := range []string{"30 x", "[a]\nzz x", "[a]\n30 x\n30 y", "[a]\n30#x y"} {
		if _, err := parseSchema(damaged); err == nil {
			t.Errorf("schema %q accepted", damaged)
		}
	}
}

func hasResults(function string) bool {
	if function == "install" || function == "cancel" || function == "pe" {
		return true
	}
	_, ok := ES10(function, 127)
	return ok
}

func fromHex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMessage(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     []string
	}{
		{
			"installation result with error 5/12", "BF2722800101BF2F0A800101810207800C0161060388370AA20BA10980010581010C820101",
			[]string{"BF27 ProfileInstallationResultData (34)", "    81 event: install", "  06 smdpOid: 2.999.10", "      80 bppCommandId: 5 loadProfileElements", "      81 errorReason: 12 profile element refused", "| install 5 12: profile element refused"},
		},
		{
			"installation result with the response of the card",
			"BF37 1E BF27 1B 80 0101 A2 16 A1 14 80 0105 81 010C 82 0C 30 0A A0 08 30 06 80 0109 81 0105",
			[]string{"82 simaResponse (12)", "80 status: 9 template not supported", "| pe 9", "81 identification: 5"},
		},
		{"metadata", "BF25 28 5A0A98001032547698103214 910173 920170 B609 3007 80020780 810161 B705 800300F110 99020640", []string{"5A iccid: 89000123456789012341", `91 serviceProviderName: "s"`, "80 mccMnc: 001/01", "99 policyRules: PPR1 disabling not allowed"}},
		{"authenticate error", "BF38 08 A1 06 800101 020106", []string{"02 authenticateErrorCode: 6 challenge does not match", "| authenticate 6"}},
		{"download error", "BF21 08 A1 06 800101 020105", []string{"| download 5"}},
		{"cancel request", "BF41 06 800101 810101", []string{"81 reason: 1 postponed"}},
		{"cancel error", "BF41 03 810105", []string{"81 error: 5 transaction ID differs"}},
		{"enable request", "BF31 11 A00C 5A0A98001032547698103214 8101FF", []string{"A0 profile (12)", "81 refreshFlag: true"}},
		{"enable result", "BF31 03 800102", []string{"80 result: 2 not disabled", "| enable 2"}},
		{"enable done, with status word", "BF31 03 800100 9000", []string{"80 result: 0 done\n", "90 status word"}},
		{"delete request", "BF33 0C 5A0A98001032547698103214", []string{"5A iccid: 89000123456789012341"}},
		{"EID", "BF3E 12 5A10 89049032123451234512345678901235", []string{"5A eid: 89049032123451234512345678901235"}},
		{"info", "BF20 0F 8203020500 A908 0406010203040506", []string{"82 svn: 2.5.0", "A9 CIs for verification"}},
		{"eIM poll without work", "BF4F 03 020101", []string{"02 error: 1 nothing to do"}},
		{"eIM result", "BF51 1D A01B 3015 800465696D31 810101 82020102 830107 3003 830100 5F3701AA", []string{"83 enable: 0 done"}},
		{"signed package error", "BF51 10 A10E 3009 800165 810101 020104 5F3700", []string{"02 error: 4 replayed", "| package 4"}},
		{
			"eUICC package", "BF513630318001655A1089049032123451234512345678901235810105A017A30E5A0A980001000000000000100500A70580008201615F3700",
			[]string{"30 EuiccPackageSigned", "A0 profile management", "A3 enable", "05 rollback", "A7 configureImmediateEnable", "5F37 eimSignature"},
		},
		{"package results", "BF5120A01E3019800165810105830102300E8D0102890102A8030201050201025F3700", []string{
			"8D setFallback: 2 fallback not allowed", "| delete eim 2", "02 result: 5 association token refused", "02 processingTerminated: 2 command unknown or damaged",
		}},
		{"result that could not be processed", "BF50 08 A006 800101 020102", []string{"BF50 ProvideEimPackageResult", "02 error: 2 package unknown", "| unprocessed 2"}},
		{"eIM does not know the EID", "BF50 03 020102", []string{"02 error: 2 EID unknown", "| provide 2"}},
		{"data refused", "BF52 05 A103 020101", []string{"02 error: 1 tag list refused"}},
		{"download did not happen", "BF5405300380017F", []string{"80 reason: 127 undefined error"}},
		{"IPA features", "BF52 08 A006 A804 800206C0", []string{"80 features: direct download, indirect download"}},
		{"memory reset of an IoT eUICC", "BF64 04 82020104", []string{"82 options: eIMs"}},
		{"memory reset done", "BF64 06 800100 810101", []string{"81 eIMs: 1 nothing to delete"}},
		{"ISD-R of an IoT eUICC", "E1 04 80020640", []string{"a profile is enabled"}},
		{"session keys are not shown", "BF26 0C 80024142 81024344 82024546", []string{"81 ppkEnc: [secret]", "80 initialMacChainingValue: [secret]"}},
		{"bare smdpSigned2", "30 06 800101 0101FF", []string{"30 smdpSigned2", "01 confirmation code required: true"}},
		{"damaged inside", "BF2D 04 A0023005", []string{"BF2D ProfileInfoList (4)", "A0 profiles or search: 3005 (damaged: truncated element"}},
		{"unknown tags", "C1 04 41424344", []string{`C1: 41424344 "ABCD"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			list, err := Message(fromHex(t, tt.in))
			if err != nil {
				t.Fatal(err)
			}
			got := Tree(list)
			for _, want := range tt.want {
				if !strings.Contains(got, want) {
					t.Errorf("no %q in\n%s", want, got)
				}
			}
		})
	}
	for _, in := range []string{"", "BF", "BF2003", "308001"} {
		if list, err := Message(fromHex(t, in)); err == nil {
			t.Errorf("%q read as %v", in, list)
		}
	}
	deep := []byte{0x04, 0x00}
	for range tlv.MaxDepth + 2 {
		deep = tlv.Append(nil, tlv.Sequence, deep)
	}
	list, err := Message(deep)
	if err != nil || !strings.Contains(Tree(list), "damaged: "+tlv.ErrTooDeep.Error()) {
		t.Errorf("a bottomless message: %v\n%s", err, Tree(list))
	}
}

// TestCertificateInMessage shows a certificate in a line.
func TestCertificateInMessage(t *testing.T) {
	at := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	ci, err := pki.NewTestCI(pki.P256, pki.Request{NotBefore: at})
	if err != nil {
		t.Fatal(err)
	}
	auth, err := ci.Issue(pki.Request{Role: pki.DPAuth, OID: "2.999.10", NotBefore: at, Subject: pki.Subject{CommonName: "TEST"}})
	if err != nil {
		t.Fatal(err)
	}
	inner := append(fromHex(t, "3003800101 5F3701AA 0401AA"), auth.Certificate.Raw...)
	for name, b := range map[string][]byte{"alone": auth.Certificate.Raw, "in a message": tlv.Append(nil, 0xBF38, inner)} {
		list, err := Message(b)
		if err != nil {
			t.Fatal(err)
		}
		got := Tree(list)
		if !strings.Contains(got, "DPauth certificate of CN=TEST") || !strings.Contains(got, "2026-12-01") || !strings.Contains(got, "2.999.10") {
			t.Errorf("%s:\n%s", name, got)
		}
	}
}

func TestDecode(t *testing.T) {
	want := fromHex(t, "BF2E00")
	for name, in := range map[string]string{
		"hex": "BF2E00", "lower case with spaces": "bf 2e\n00 ", "base64": "vy4A", "quoted": `"vy4A",`,
		"APDU": "80E2910003BF2E00", "APDU with Le": "81E2910003BF2E0000",
	} {
		b, err := Decode(in)
		if err != nil || string(b) != string(want) {
			t.Errorf("%s: %x, %v", name, b, err)
		}
	}
	for name, in := range map[string]string{"empty": "", "words": "hello world!", "odd": "BF2E0", "cut off": "BF2E05AA", "one octet": "BF"} {
		if b, err := Decode(in); err == nil {
			t.Errorf("%s: read as %x", name, b)
		}
	}
}

// TestReferenceMessages reads every published message and finds names for all
// elements of the SGP.22 ones.
func TestReferenceMessages(t *testing.T) {
	for _, file := range []string{
		"auth-server-response", "authenticate-response", "prepare-download-response", "bound-profile-package",
		"pending-notification", "store-metadata", "initiate-response", "euicc-info1", "euicc", "TS48v1_A",
	} {
		path := []string{"vectors", "exchange", file + ".der"}
		if file == "TS48v1_A" {
			path = []string{"upp", file + ".der"}
		}
		b := reference.File(t, path...)
		pasted, err := Decode(base64.StdEncoding.EncodeToString(b))
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		list, err := Message(pasted)
		if err != nil || !Known(list) {
			t.Errorf("%s: %v\n%s", file, err, Tree(list))
			continue
		}
		if file != "TS48v1_A" {
			everythingNamed(t, file, list)
		}
		if _, err := json.Marshal(list); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	var known []struct{ Type, Value, DER string }
	if err := json.Unmarshal(reference.File(t, "vectors", "der", "known-answers.json"), &known); err != nil {
		t.Fatal(err)
	}
	for _, k := range known {
		list, err := Message(fromHex(t, k.DER))
		if err != nil {
			t.Errorf("%s %s: %v", k.Type, k.Value, err)
		}
		if strings.HasPrefix(k.DER, "bf") && !Known(list) {
			t.Errorf("%s has no name", k.Type)
		}
	}
}

func everythingNamed(t *testing.T, file string, list []Node) {
	t.Helper()
	for _, n := range list {
		if n.Name == "" {
			t.Errorf("%s: %s has no name", file, n.Tag)
		}
		everythingNamed(t, file, n.Nodes)
	}
}

func FuzzMessage(f *testing.F) {
	for _, s := range []string{"BF2722800101BF2F0A800101810207800C0161060388370AA20BA10980010581010C820101", "BF31038001029000", "3006800101 0101FF", "A00680010281010382"} {
		b, _ := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := Message(b)
		if err != nil {
			return
		}
		if Tree(list) == "" {
			t.Error("a message without elements")
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add("BF2E00")
	f.Add("vy4A")
	f.Fuzz(func(t *testing.T, s string) {
		b, err := Decode(s)
		if err != nil {
			return
		}
		if _, err := Message(b); err != nil {
			t.Errorf("%q decodes to %x, which cannot be shown: %v", s, b, err)
		}
	})
}
