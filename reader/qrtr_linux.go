package reader

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/damonto/euicc-go/driver/qmi"
)

// OpenQRTR opens the eUICC of the modem that is in one chip with the processor,
// as in telephones: QMI over the kernel's QRTR, without a proxy. Slot 0 is the
// one in use.
func OpenQRTR(slot uint8) (Card, error) {
	var found *qmi.QRTR
	err := guard(func() error {
		// The slot is chosen below, not by the library.
		channel, err := qmi.NewQRTR(1)
		found, _ = channel.(*qmi.QRTR)
		return err
	})
	switch {
	case errors.Is(err, syscall.EAFNOSUPPORT):
		return nil, errors.New("this kernel has no QRTR: load the module qrtr, or reach the modem by qmi:DEVICE")
	case err != nil:
		return nil, fmt.Errorf("find a modem's card service (UIM) over QRTR: %w", err)
	}
	u := &uim{talk: &talk{dialect: dialect{name: "QRTR"}, proxy: "the modem"}, transport: found.Transport, hangUp: found.Disconnect}
	if err := u.choose(slot); err != nil {
		return nil, errors.Join(fmt.Errorf("modem over QRTR: %w", err), u.shut())
	}
	return &channelled{way: u}, nil
}
