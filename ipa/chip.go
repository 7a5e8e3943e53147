package ipa

import (
	"errors"
	"fmt"

	"godwit/ident"
	"godwit/iot"
	"godwit/lpa"
	"godwit/rsp"
	"godwit/tlv"
)

// A Chip is what an IPA needs of an eUICC beside the functions of SGP.22: ES10b
// of SGP.32 v1.2, 5.9. Refusals of the eUICC are [*lpa.ChipError].
type Chip interface {
	EID() ident.EID

	// LPA returns the functions of SGP.22 on the same card.
	LPA() *lpa.Chip

	// LoadPackage executes an eUICC package and returns the result, both BF51. A
	// signed result waits in Results until it is removed. An error that is no
	// refusal says nothing of what was done: the result is in Results when the
	// package was executed. [ErrFormat] is the error of what is no package.
	LoadPackage(der []byte) ([]byte, error)

	// Results returns the results that wait, BF51, oldest first.
	Results() ([][]byte, error)

	// Remove makes the chip forget a result, or a notification. One that it does
	// not have is no error.
	Remove(sequence int64) error

	// Certificates returns the certificates of EUM and eUICC, DER, for the CI with
	// the key identifier, or the first one; nil when they are not known.
	Certificates(ci []byte) (eum, euicc []byte, err error)

	// Eims returns the eIMs that the eUICC is associated with.
	Eims() ([]iot.EimConfiguration, error)

	// AddInitialEim associates the first eIMs and returns the association tokens
	// that they asked for, nil for the others.
	AddInitialEim([]iot.EimConfiguration) ([]*int64, error)

	// Rollback goes back to the profile that was enabled before the last package,
	// and returns the result that takes the place of that package's.
	Rollback() ([]byte, error)

	// ImmediateEnable enables the profile that was installed last, if the eIM
	// allowed it for its SM-DP+.
	ImmediateEnable(*lpa.Result) error

	// ExecuteFallback enables the fallback profile; ReturnFromFallback goes back.
	ExecuteFallback() error
	ReturnFromFallback() error
}

// ErrFormat is the error of octets that are no eUICC package.
var ErrFormat = errors.New("no eUICC package")

// SGP32 returns the chip behind a card that speaks SGP.32 itself.
func SGP32(card lpa.Card) (Chip, error) {
	c, err := lpa.OpenChip(card)
	if err != nil {
		return nil, err
	}
	eid, err := c.EID()
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	s := &sgp32{lpa: c, eid: eid}
	// The list of eIMs is the function that every SGP.32 eUICC has.
	if _, err := s.Eims(); err != nil {
		return nil, errors.Join(fmt.Errorf("the eUICC does not speak SGP.32: %w", err), c.Close())
	}
	return s, nil
}

type sgp32 struct {
	lpa *lpa.Chip
	eid ident.EID
}

func (s *sgp32) EID() ident.EID { return s.eid }
func (s *sgp32) LPA() *lpa.Chip { return s.lpa }

func (s *sgp32) LoadPackage(der []byte) ([]byte, error) {
	if _, _, err := iot.ReadPackageHeader(der); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	answer, err := s.lpa.StoreData(der)
	if err != nil {
		return nil, fmt.Errorf("LoadEuiccPackage: %w", err)
	}
	if _, err := iot.ReadResultHeader(answer); err != nil {
		return nil, fmt.Errorf("LoadEuiccPackage: %w", err)
	}
	return answer, nil
}

// Results asks for the list of package results. SGP.32 v1.2, 5.9.11.
func (s *sgp32) Results() ([][]byte, error) {
	request := tlv.AppendNested(nil, rsp.TagRetrieveNotifications, func(dst []byte) []byte {
		return tlv.AppendNested(dst, 0xA0, func(dst []byte) []byte { return tlv.Append(dst, 0x82, nil) })
	})
	answer, err := s.lpa.StoreData(request)
	if err != nil {
		return nil, fmt.Errorf("RetrieveNotificationsList: %w", err)
	}
	e, err := tlv.ParseTag(answer, rsp.TagRetrieveNotifications)
	if err != nil {
		return nil, fmt.Errorf("RetrieveNotificationsList: %w", err)
	}
	if len(e.Value) == 0 {
		return nil, nil
	}
	arm, err := tlv.Parse(e.Value)
	if err != nil {
		return nil, fmt.Errorf("RetrieveNotificationsList: %w", err)
	}
	if arm.Tag == 0x81 {
		code, err := tlv.DecodeInt(arm.Value)
		return nil, errors.Join(err, &lpa.ChipError{Function: "RetrieveNotificationsList", Code: code})
	}
	var out [][]byte
	for r := arm.Reader(); !r.Empty(); {
		e := r.Element(iot.TagPackage)
		if err := r.Err(); err != nil {
			return nil, fmt.Errorf("RetrieveNotificationsList: %w", err)
		}
		out = append(out, e.Raw)
	}
	return out, nil
}

func (s *sgp32) Remove(sequence int64) error { return removed(s.lpa.Remove(sequence)) }

// removed forgives that there was nothing to remove.
func removed(err error) error {
	if refused, ok := errors.AsType[*lpa.ChipError](err); ok && refused.Code == rsp.ResultNotFound {
		return nil
	}
	return err
}

// Certificates asks for the certificates. SGP.32 v1.2, 5.9.5. Fields come with
// the SEQUENCE of a certificate or with its tag in that place.
func (s *sgp32) Certificates(ci []byte) (eum, euicc []byte, err error) {
	request := tlv.AppendNested(nil, iot.TagGetCerts, func(dst []byte) []byte {
		if ci == nil {
			return dst
		}
		return tlv.Append(dst, 0x80, ci)
	})
	answer, err := s.lpa.StoreData(request)
	if err != nil {
		return nil, nil, fmt.Errorf("GetCerts: %w", err)
	}
	e, err := tlv.ParseTag(answer, iot.TagGetCerts)
	if err != nil {
		return nil, nil, fmt.Errorf("GetCerts: %w", err)
	}
	arm, err := tlv.Parse(e.Value)
	if err != nil {
		return nil, nil, fmt.Errorf("GetCerts: %w", err)
	}
	if arm.Tag == 0x81 || arm.Tag == tlv.Integer {
		code, err := tlv.DecodeInt(arm.Value)
		return nil, nil, errors.Join(err, &lpa.ChipError{Function: "GetCerts", Code: code})
	}
	r := arm.Reader()
	first, second := r.Element(0xA5), r.Element(0xA6)
	if err := r.Err(); err != nil {
		return nil, nil, fmt.Errorf("GetCerts: %w", err)
	}
	return certificate(first), certificate(second), nil
}

// certificate returns the whole certificate that an implicitly tagged element
// stands for.
func certificate(e tlv.Element) []byte {
	if inner, rest, err := tlv.Next(e.Value); err == nil && len(rest) == 0 && inner.Tag == tlv.Sequence {
		return inner.Raw
	}
	return tlv.Append(nil, tlv.Sequence, e.Value)
}

// Eims asks for the configuration data of all eIMs. SGP.32 v1.2, 5.9.18.
func (s *sgp32) Eims() ([]iot.EimConfiguration, error) {
	answer, err := s.lpa.StoreData(rsp.AppendEmpty(nil, iot.TagGetEimConfiguration))
	if err != nil {
		return nil, fmt.Errorf("GetEimConfigurationData: %w", err)
	}
	e, err := tlv.ParseTag(answer, iot.TagGetEimConfiguration)
	if err != nil {
		return nil, fmt.Errorf("GetEimConfigurationData: %w", err)
	}
	r := e.Reader()
	list := r.Sub(0xA0)
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("GetEimConfigurationData: %w", err)
	}
	var out []iot.EimConfiguration
	for !list.Empty() && len(out) < iot.MaxEims {
		e := list.Element(tlv.Sequence)
		if err := list.Err(); err != nil {
			return nil, fmt.Errorf("GetEimConfigurationData: %w", err)
		}
		c, err := iot.ParseEimConfiguration(e.Raw)
		if err != nil {
			return nil, fmt.Errorf("GetEimConfigurationData: %w", err)
		}
		out = append(out, *c)
	}
	return out, nil
}

// AddInitialEim stores the first eIMs. SGP.32 v1.2, 5.9.4.
func (s *sgp32) AddInitialEim(list []iot.EimConfiguration) ([]*int64, error) {
	request := tlv.AppendNested(nil, iot.TagAddInitialEim, func(dst []byte) []byte {
		return tlv.AppendNested(dst, 0xA0, func(dst []byte) []byte {
			for i := range list {
				dst = list[i].Append(dst)
			}
			return dst
		})
	})
	answer, err := s.lpa.StoreData(request)
	if err != nil {
		return nil, fmt.Errorf("AddInitialEim: %w", err)
	}
	e, err := tlv.ParseTag(answer, iot.TagAddInitialEim)
	if err != nil {
		return nil, fmt.Errorf("AddInitialEim: %w", err)
	}
	arm, err := tlv.Parse(e.Value)
	if err != nil {
		return nil, fmt.Errorf("AddInitialEim: %w", err)
	}
	if arm.Tag != 0xA0 {
		code, err := tlv.DecodeInt(arm.Value)
		return nil, errors.Join(err, &lpa.ChipError{Function: "AddInitialEim", Code: code})
	}
	tokens := make([]*int64, 0, len(list))
	for r := arm.Reader(); !r.Empty(); {
		e := r.Next()
		if err := r.Err(); err != nil {
			return nil, fmt.Errorf("AddInitialEim: %w", err)
		}
		var token *int64
		if e.Tag == 0x84 {
			n, err := tlv.DecodeInt(e.Value)
			if err != nil {
				return nil, fmt.Errorf("AddInitialEim: %w", err)
			}
			token = &n
		}
		tokens = append(tokens, token)
	}
	return tokens, nil
}

// Rollback goes back. SGP.32 v1.2, 5.9.16.
func (s *sgp32) Rollback() ([]byte, error) {
	answer, err := s.lpa.StoreData(refresh(iot.TagProfileRollback))
	if err != nil {
		return nil, fmt.Errorf("ProfileRollback: %w", err)
	}
	e, err := tlv.ParseTag(answer, iot.TagProfileRollback)
	if err != nil {
		return nil, fmt.Errorf("ProfileRollback: %w", err)
	}
	r := e.Reader()
	code := r.Int(either(r.Peek()))
	result, found := r.Optional(iot.TagPackage)
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("ProfileRollback: %w", err)
	}
	if code != rsp.ResultOK {
		return result.Raw, &lpa.ChipError{Function: "ProfileRollback", Code: code}
	}
	if !found {
		return nil, fmt.Errorf("ProfileRollback: the eUICC gave no result")
	}
	return result.Raw, nil
}

// either is the tag of a result that stands alone: 80 by the module, 02 in older
// eUICCs.
func either(have tlv.Tag) tlv.Tag {
	if have == tlv.Integer {
		return tlv.Integer
	}
	return 0x80
}

// refresh appends a request whose only field is the refresh flag.
func refresh(tag tlv.Tag) []byte {
	return tlv.AppendNested(nil, tag, func(dst []byte) []byte { return tlv.AppendBool(dst, 0x80, true) })
}

func (s *sgp32) ImmediateEnable(*lpa.Result) error {
	return s.order("ImmediateEnable", iot.TagImmediateEnable)
}

func (s *sgp32) ExecuteFallback() error {
	return s.order("ExecuteFallbackMechanism", iot.TagExecuteFallback)
}

func (s *sgp32) ReturnFromFallback() error {
	return s.order("ReturnFromFallback", iot.TagReturnFromFallback)
}

// order sends a request with the refresh flag, whose answer is one number.
func (s *sgp32) order(function string, tag tlv.Tag) error {
	answer, err := s.lpa.StoreData(refresh(tag))
	if err != nil {
		return fmt.Errorf("%s: %w", function, err)
	}
	e, err := tlv.ParseTag(answer, tag)
	if err != nil {
		return fmt.Errorf("%s: %w", function, err)
	}
	r := e.Reader()
	code := r.Int(either(r.Peek()))
	if err := r.Err(); err != nil {
		return fmt.Errorf("%s: %w", function, err)
	}
	if code != rsp.ResultOK {
		return &lpa.ChipError{Function: function, Code: code}
	}
	return nil
}
