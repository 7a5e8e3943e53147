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

// ErrFormat is the error of octets that are no eUICC package, or none that the
// eUICC can read.
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
	if errors.Is(err, lpa.ErrTooLong) || errors.Is(err, lpa.WrongData) {
		// It will be so whenever it comes: the eIM has to know.
		return nil, fmt.Errorf("%w: LoadEuiccPackage: %w", ErrFormat, err)
	}
	if err != nil {
		return nil, fmt.Errorf("LoadEuiccPackage: %w", err)
	}
	if _, err := iot.ReadResultHeader(answer); err != nil {
		return nil, fmt.Errorf("LoadEuiccPackage: %w", err)
	}
	return answer, nil
}

// Results asks for the list of package results: ES10b.RetrieveNotificationsList.
func (s *sgp32) Results() ([][]byte, error) {
	return ask(s, "RetrieveNotificationsList", iot.AppendRetrieveResults(nil), iot.ParseResults)
}

// ask sends a request and reads the answer.
func ask[T any](s *sgp32, function string, request []byte, parse func([]byte) (T, error)) (T, error) {
	var zero T
	answer, err := s.lpa.StoreData(request)
	if err != nil {
		return zero, fmt.Errorf("%s: %w", function, err)
	}
	v, err := parse(answer)
	if refused, ok := errors.AsType[*rsp.ListError](err); ok {
		return zero, &lpa.ChipError{Function: function, Code: refused.Code}
	}
	if err != nil {
		return zero, fmt.Errorf("%s: %w", function, err)
	}
	return v, nil
}

func (s *sgp32) Remove(sequence int64) error { return removed(s.lpa.Remove(sequence)) }

// removed forgives that there was nothing to remove.
func removed(err error) error {
	if refused, ok := errors.AsType[*lpa.ChipError](err); ok && refused.Code == rsp.ResultNotFound {
		return nil
	}
	return err
}

// Certificates asks for the certificates: ES10b.GetCerts of SGP.32.
func (s *sgp32) Certificates(ci []byte) (eum, euicc []byte, err error) {
	p, err := ask(s, "GetCerts", iot.AppendGetCerts(nil, ci), iot.ParseCerts)
	if err != nil {
		return nil, nil, err
	}
	if p.Error != 0 {
		return nil, nil, &lpa.ChipError{Function: "GetCerts", Code: p.Error}
	}
	return p.EUM, p.EUICC, nil
}

// Eims asks for the configuration data of all eIMs:
// ES10b.GetEimConfigurationData.
func (s *sgp32) Eims() ([]iot.EimConfiguration, error) {
	return ask(s, "GetEimConfigurationData", iot.AppendGetEimConfiguration(nil, ""), iot.ParseEimConfigurations)
}

// AddInitialEim stores the first eIMs: ES10b.AddInitialEim of SGP.32.
func (s *sgp32) AddInitialEim(list []iot.EimConfiguration) ([]*int64, error) {
	p, err := ask(s, "AddInitialEim", iot.AppendAddInitialEim(nil, list), iot.ParseAddInitialEimResult)
	if err != nil {
		return nil, err
	}
	if p.Error != 0 {
		return nil, &lpa.ChipError{Function: "AddInitialEim", Code: p.Error}
	}
	return p.Tokens, nil
}

// Rollback goes back: ES10b.ProfileRollback of SGP.32.
func (s *sgp32) Rollback() (result []byte, err error) {
	code, err := ask(s, "ProfileRollback", iot.AppendRefresh(nil, iot.TagProfileRollback, true), func(der []byte) (code int64, err error) {
		code, result, err = iot.ParseRollback(der)
		return code, err
	})
	switch {
	case err != nil:
		return nil, err
	case code != rsp.ResultOK:
		return result, &lpa.ChipError{Function: "ProfileRollback", Code: code}
	case result == nil:
		return nil, errors.New("ProfileRollback: the eUICC gave no result")
	}
	return result, nil
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
	code, err := ask(s, function, iot.AppendRefresh(nil, tag, true), func(der []byte) (int64, error) { return rsp.ParseResult(der, tag) })
	if err == nil && code != rsp.ResultOK {
		err = &lpa.ChipError{Function: function, Code: code}
	}
	return err
}
