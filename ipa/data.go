package ipa

import (
	"context"
	"errors"

	"godwit/iot"
	"godwit/lpa"
	"godwit/rsp"
	"godwit/tlv"
)

// data answers a request for data. SGP.32 v1.2, 3.4 and 2.11.1.2.
func (p *IPA) data(ctx context.Context, der []byte) error {
	q, err := iot.ParseDataRequest(der)
	if err != nil {
		p.log().Warn("the eIM sent a request for data that cannot be read", "err", err)
		return p.refuse(ctx, nil, iot.ResultInvalidFormat)
	}
	answer := &iot.DataResponse{TransactionID: q.TransactionID}
	sent := map[int64]bool{}
	err = p.step(StepData, "", func() error {
		for _, tag := range q.Tags {
			code, err := p.datum(answer, q, tag, sent)
			if err != nil {
				return err
			}
			if code != 0 {
				answer = &iot.DataResponse{TransactionID: q.TransactionID, Error: &code}
				return nil
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	acknowledged, err := p.provide(ctx, &iot.ProvideEimPackageResult{DataResponse: answer.Append(nil)}, "data")
	if err != nil {
		return err
	}
	return p.forget(acknowledged, sent)
}

// datum adds what one tag asks for. What the eUICC does not have is left out; a
// code is the answer to the whole request. Numbers of what is sent go to sent.
func (p *IPA) datum(a *iot.DataResponse, q *iot.DataRequest, tag tlv.Tag, sent map[int64]bool) (code int64, err error) {
	chip := p.Chip.LPA()
	switch tag {
	case iot.DataNotifications:
		var f rsp.NotificationFilter
		if q.Notifications != nil {
			f = *q.Notifications
		}
		list, err := chip.Retrieve(f)
		if err != nil {
			return 0, err
		}
		a.Notifications = [][]byte{}
		for i := range list {
			sent[list[i].Metadata.Sequence] = true
			a.Notifications = append(a.Notifications, list[i].Raw)
		}
	case iot.DataResults:
		results, err := p.Chip.Results()
		if err != nil {
			return 0, err
		}
		a.Results = [][]byte{}
		for _, der := range results {
			header, err := iot.ReadResultHeader(der)
			if err != nil {
				return 0, err
			}
			if (q.Results == nil || *q.Results == header.Sequence) && (p.EimID == "" || header.EimID == p.EimID) {
				sent[header.Sequence] = true
				a.Results = append(a.Results, der)
			}
		}
	case iot.DataDefaultDP, iot.DataRootDS:
		found, err := chip.Addresses()
		if err != nil {
			return 0, err
		}
		if tag == iot.DataDefaultDP {
			a.DefaultDP = &found.DefaultDP
		} else {
			a.RootDS = &found.RootDS
		}
	case iot.DataInfo1:
		a.Info1, err = chip.Info1()
	case iot.DataInfo2:
		var info *rsp.EUICCInfo2
		if info, err = chip.Info2(); err == nil {
			a.Info2 = info.Raw
		}
	case iot.DataToken:
		a.Token, err = p.token()
	case iot.DataEUMCertificate, iot.DataEUICCCertificate:
		eum, euicc, err := p.Chip.Certificates(q.CI)
		if refused, ok := errors.AsType[*lpa.ChipError](err); ok && refused.Code == 1 {
			return iot.DataCINotFound, nil
		}
		if err != nil {
			return 0, err
		}
		if tag == iot.DataEUMCertificate {
			a.EUMCertificate = eum
		} else {
			a.EUICCCertificate = euicc
		}
	case iot.DataCapabilities:
		a.Capabilities = &iot.Capabilities{
			Features:  iot.DirectDownload | iot.IndirectDownload | iot.EimHandlesDownloadData | iot.EimMakesContext,
			Protocols: iot.RetrieveHTTPS,
		}
	case iot.DataDevice:
		a.Device, err = p.device()
	default:
		return iot.DataIncorrectTags, nil
	}
	return 0, err
}

// token returns the association token of the eIM that is asked.
func (p *IPA) token() (*int64, error) {
	eims, err := p.Chip.Eims()
	if err != nil {
		return nil, err
	}
	for i := range eims {
		if eims[i].ID == p.EimID || p.EimID == "" && len(eims) == 1 {
			return eims[i].Token, nil
		}
	}
	return nil, nil
}

// device returns the content of deviceInfo as servers are told it.
func (p *IPA) device() ([]byte, error) {
	e, err := tlv.ParseTag((&rsp.CtxParams1{Device: p.LPA.DeviceInfo()}).Append(nil), 0xA0)
	if err != nil {
		return nil, err
	}
	r := e.Reader()
	return r.Value(0xA1), r.Err()
}
