package rsp

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"godwit/internal/reference"
	"godwit/tlv"
)

// recode reads one message and writes it again from its fields.
type recode func(der []byte) ([]byte, error)

func recodes() map[string]recode {
	fields := map[string]recode{
		"CancelSessionRequest": func(b []byte) ([]byte, error) {
			q, err := ParseCancelSessionRequest(b)
			return q.Append(nil), err
		},
		"ProfileInstallationResultData": func(b []byte) ([]byte, error) {
			p, err := ParseInstallationResultData(b)
			return p.Append(nil), err
		},
		"StoreMetadataRequest": func(b []byte) ([]byte, error) {
			m, err := ParseMetadata(b)
			return m.Append(nil), err
		},
		"ConfigureISDPRequest": func(b []byte) ([]byte, error) {
			c, err := ParseConfigureISDP(b)
			return c.Append(nil), err
		},
		"ReplaceSessionKeysRequest": func(b []byte) ([]byte, error) {
			k, err := ParseReplaceSessionKeys(b)
			return AppendReplaceSessionKeys(nil, k), err
		},
		"EuiccConfiguredAddressesResponse": func(b []byte) ([]byte, error) {
			a, err := ParseConfiguredAddresses(b)
			return a.Append(nil), err
		},
		"GetRatResponse": func(b []byte) ([]byte, error) {
			rules, err := ParseRAT(b)
			return AppendRAT(nil, rules), err
		},
		"EnableProfileRequest": func(b []byte) ([]byte, error) {
			q, err := ParseProfileRequest(b, TagEnableProfile)
			return q.Append(nil, TagEnableProfile), err
		},
		"EnableProfileResponse": func(b []byte) ([]byte, error) {
			n, err := ParseResult(b, TagEnableProfile)
			return AppendResult(nil, TagEnableProfile, n), err
		},
		"DeleteProfileRequest": func(b []byte) ([]byte, error) {
			s, err := ParseDeleteProfile(b)
			return AppendDeleteProfile(nil, s), err
		},
		"EuiccMemoryResetRequest": func(b []byte) ([]byte, error) {
			o, err := ParseMemoryReset(b)
			return AppendMemoryReset(nil, o), err
		},
		"RetrieveNotificationsListRequest": func(b []byte) ([]byte, error) {
			f, err := ParseRetrieveNotifications(b)
			return AppendRetrieveNotifications(nil, f), err
		},
		"NotificationSentRequest": func(b []byte) ([]byte, error) {
			n, err := ParseRemoveNotification(b)
			return AppendRemoveNotification(nil, n), err
		},
		"ProfileInfoListRequest": func(b []byte) ([]byte, error) {
			q, err := ParseProfileInfoListRequest(b)
			return q.Append(nil), err
		},
		"ProfileInfoListResponse": func(b []byte) ([]byte, error) {
			list, err := ParseProfileInfoList(b)
			if failed, ok := err.(*ListError); ok {
				return AppendListError(nil, failed.Tag, failed.Code), nil
			}
			return AppendProfileInfoList(nil, list), err
		},
		"SetNicknameRequest": func(b []byte) ([]byte, error) {
			q, err := ParseNicknameRequest(b)
			return q.Append(nil), err
		},
		"AuthenticateClientResponseEs11": func(b []byte) ([]byte, error) {
			p, err := ParseASN1Response(tlv.Append(nil, tagBinding, b))
			if err != nil {
				return nil, err
			}
			e, err := tlv.Parse(AppendASN1Response(nil, p))
			return e.Value, err
		},
		"ServerSigned1": func(b []byte) ([]byte, error) {
			s, err := ReadServerSigned1(b)
			return s.Append(nil), err
		},
		"SmdpSigned2": func(b []byte) ([]byte, error) {
			s, err := ReadSMDPSigned2(b)
			return s.Append(nil), err
		},
		"EUICCSigned2": func(b []byte) ([]byte, error) {
			e, err := tlv.Parse(b)
			r := e.Reader()
			return AppendEUICCSigned2(nil, transactionID(&r, 0x80), r.Value(TagOneTimeKey), r.Value(tlv.OctetString)), err
		},
		"CtxParams1": func(b []byte) ([]byte, error) {
			c, err := ParseCtxParams1(b)
			return c.Append(nil), err
		},
	}
	// A parser that fails returns nil; writing it would end in a panic, and the
	// error would be lost.
	for name, f := range fields {
		fields[name] = func(b []byte) (out []byte, err error) {
			defer func() {
				if r := recover(); r != nil {
					t, _ := r.(error)
					err = t
				}
			}()
			return f(b)
		}
	}
	return fields
}

// The answers were made by a general ASN.1 compiler from the module of SGP.22
// v2.5: every message must come out of our writer in the octets that it came in.
func TestKnownAnswers(t *testing.T) {
	var answers []struct{ Type, Value, DER string }
	if err := json.Unmarshal(reference.File(t, "vectors", "der", "known-answers.json"), &answers); err != nil {
		t.Fatal(err)
	}
	// Messages of SGP.32 are another matter; they stand before these.
	first := false
	known, seen := recodes(), map[string]bool{}
	for _, a := range answers {
		first = first || a.Type == "CancelSessionRequest"
		f, ok := known[a.Type]
		if !ok {
			if first {
				t.Errorf("nothing reads %s", a.Type)
			}
			continue
		}
		seen[a.Type] = true
		t.Run(a.Type+" "+a.Value, func(t *testing.T) {
			der, err := hex.DecodeString(a.DER)
			if err != nil {
				t.Fatal(err)
			}
			got, err := f(der)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, der) {
				t.Errorf("wrote %x\nwant  %x", got, der)
			}
		})
	}
	for name := range known {
		if !seen[name] {
			t.Errorf("no answer for %s", name)
		}
	}
}

// A message cut short is refused, wherever it is cut.
func TestKnownAnswersCut(t *testing.T) {
	var answers []struct{ Type, DER string }
	if err := json.Unmarshal(reference.File(t, "vectors", "der", "known-answers.json"), &answers); err != nil {
		t.Fatal(err)
	}
	known := recodes()
	for _, a := range answers {
		f, ok := known[a.Type]
		if !ok {
			continue
		}
		der, err := hex.DecodeString(a.DER)
		if err != nil {
			t.Fatal(err)
		}
		for n := range der {
			if out, err := f(der[:n]); err == nil && len(out) > 0 {
				t.Errorf("%s cut to %d octets was read", a.Type, n)
			}
		}
	}
}

// What a later version adds at the end of an extensible type does no harm.
func TestUnknownTrailingFields(t *testing.T) {
	extra := []byte{0x9E, 0x02, 0xCA, 0xFE}
	for _, tt := range []struct {
		name, der string
		read      func([]byte) error
	}{
		{"EUICCInfo1", "bf20098203020000a900aa00", func(b []byte) error { _, err := ParseEUICCInfo1(b); return err }},
		{"ServerSigned1", "302a800101811000000000000000000000000000000000830161841000000000000000000000000000000000", func(b []byte) error { _, err := ReadServerSigned1(b); return err }},
		{"SMDPSigned2", "30068001010101ff", func(b []byte) error { _, err := ReadSMDPSigned2(b); return err }},
		{"Metadata", "bf25285a0a98001032547698103214910173920170b609300780020780810161b705800300f11099020640", func(b []byte) error { _, err := ParseMetadata(b); return err }},
		{"CtxParams1", "a01c80014da117800400000000a105800305000082080000000000000000", func(b []byte) error { _, err := ParseCtxParams1(b); return err }},
		{"PIR data", "bf2722800101bf2f0a800101810207800c0161060388370aa20ba10980010581010c820101", func(b []byte) error { _, err := ParseInstallationResultData(b); return err }},
		{"RAT", "bf4315a013301180020640a1073005800300f11082020780", func(b []byte) error { _, err := ParseRAT(b); return err }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			der, err := hex.DecodeString(tt.der)
			if err != nil {
				t.Fatal(err)
			}
			e, err := tlv.Parse(der)
			if err != nil {
				t.Fatal(err)
			}
			if err := tt.read(tlv.Append(nil, e.Tag, append(e.Value[:len(e.Value):len(e.Value)], extra...))); err != nil {
				t.Error(err)
			}
		})
	}
}

// Both spellings of a BIT STRING are in the field: with trailing zeros trimmed,
// and without.
func TestBitStringSpellings(t *testing.T) {
	for _, bits := range []string{"81020780", "81020080"} {
		der, _ := hex.DecodeString("bf2f0a800101" + bits + "0c0161")
		e, err := tlv.Parse(der)
		if err != nil {
			t.Fatal(err)
		}
		n, err := notificationMetadata(e)
		if err != nil || n.Event != EventInstall {
			t.Errorf("%s: event %v, %v", bits, n, err)
		}
	}
}

// What peers get wrong and what must not stop the others.
func TestTolerated(t *testing.T) {
	der, _ := hex.DecodeString("bf28" + "13" + "a011" + "bf2f0e800101810207800c01615a0200ff")
	if list, err := ParseNotificationList(der); err != nil || len(list) != 1 || list[0].ICCID != "" {
		t.Errorf("notification with an odd ICCID: %+v, %v", list, err)
	}
	der, _ = hex.DecodeString("bf2d" + "0b" + "a009" + "e3075a01ff4f0201ab")
	if list, err := ParseProfileInfoList(der); err != nil || len(list) != 1 || list[0].ICCID != "" || len(list[0].AID) != 2 {
		t.Errorf("profile with an odd ICCID: %+v, %v", list, err)
	}
	der, _ = hex.DecodeString("a008a106800401020304")
	if c, err := ParseCtxParams1(der); err != nil || c.Device.TAC != [4]byte{1, 2, 3, 4} {
		t.Errorf("device without capabilities: %+v, %v", c, err)
	}
	der, _ = hex.DecodeString("bf22088203020500840100")
	if i, err := ParseEUICCInfo2(der); err != nil || i.Resource.Known {
		t.Errorf("card resource of one octet: %+v, %v", i, err)
	}
	// The integer of an error arm with a tag, and without.
	for _, arm := range []string{"020107", "810107"} {
		der, _ = hex.DecodeString("bf3808a106800101" + arm)
		if p, err := ParseAuthenticateServerResponse(der); err != nil || p.Error != AuthCIUnknown {
			t.Errorf("%s: %+v, %v", arm, p, err)
		}
	}
}

func TestTags(t *testing.T) {
	list, _ := hex.DecodeString("5a9f70bf229f8101")
	tags, err := Tags(list)
	if err != nil || len(tags) != 4 || tags[1] != 0x9F70 || tags[2] != 0xBF22 || tags[3] != 0x9F8101 {
		t.Errorf("tags %v, %v", tags, err)
	}
	for _, bad := range []string{"9f", "9f81", "9f818101"} {
		list, _ := hex.DecodeString(bad)
		if tags, err := Tags(list); err == nil {
			t.Errorf("tag list %s was read as %v", bad, tags)
		}
	}
	if !strings.Contains(tlv.Tag(0xBF22).String(), "BF22") {
		t.Error("tags print as hexadecimal")
	}
}
