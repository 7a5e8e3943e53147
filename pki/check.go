package pki

func checkRoot(ci *Certificate) error { return nil }

type eumCache struct{}

func (c *eumCache) clear() {}
