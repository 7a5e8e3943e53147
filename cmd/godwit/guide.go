package main

import (
	"net/http"

	"godwit/apidoc"
	"godwit/web"
)

// guideOf describes what doors serve, for programs and for people.
func guideOf(address web.Address, bearer bool, doors ...http.Handler) *apidoc.Guide {
	var routes []web.Route
	for _, door := range doors {
		if d, ok := door.(*web.Door); ok {
			routes = append(routes, d.Routes...)
		}
	}
	return apidoc.New(apidoc.Options{Routes: routes, Address: address, Version: version, Bearer: bearer})
}
