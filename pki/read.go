package pki

func parseCertificate(der []byte) (*Certificate, error) { return nil, ErrCertificate }
