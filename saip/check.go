package saip

// Check says whether [Template.Personalise] would take the personal data, as far
// as that can be told without making the package. It takes a microsecond, so a
// million rows of stock can be checked before they are stored.
func (t *Template) Check(p *Personal) error { return t.check(p) }
