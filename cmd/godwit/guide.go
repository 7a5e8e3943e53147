package main

import (
	"slices"

	"godwit/apidoc"
	"godwit/web"
)

// guideOf describes what doors serve, for programs and for people.
func guideOf(address web.Address, bearer bool, doors ...web.Routes) *apidoc.Guide {
	return apidoc.New(apidoc.Options{Routes: slices.Concat(doors...), Address: address, Version: version, Bearer: bearer})
}
