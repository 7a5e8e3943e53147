package apidoc

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"strings"
)

//go:embed page
var files embed.FS

var reading = template.Must(template.New("docs.html").Funcs(template.FuncMap{
	"kind": words, "lower": strings.ToLower, "optional": optional, "anchor": anchor,
}).ParseFS(files, "page/docs.html"))

// anchor is the name of a chapter in links.
func anchor(name string) string { return strings.ReplaceAll(name, " ", "-") }

// A chapter of the page is a resource with its operations.
type chapter struct {
	Resource
	Operations []shown
}

// shown is an operation as the page shows it.
type shown struct {
	Operation
	Schemas []Schema // of its answers
	Sent    []Schema // of a JSON body, with what is in it
}

// page writes the reference page.
func (g *Guide) page(w http.ResponseWriter, r *http.Request) {
	var chapters []chapter
	for _, resource := range resources {
		c := chapter{Resource: resource}
		for _, op := range g.operations {
			if op.Resource != resource.Name {
				continue
			}
			s := shown{Operation: op}
			if op.Body != "" {
				s.Sent = within(schema(op.Body))
			}
			for i, a := range op.Answers {
				if a.Schema != "" && (i == 0 || a.Schema != op.Answers[i-1].Schema) {
					s.Schemas = append(s.Schemas, within(schema(a.Schema))...)
				}
			}
			c.Operations = append(c.Operations, s)
		}
		if len(c.Operations) > 0 {
			chapters = append(chapters, c)
		}
	}
	var out bytes.Buffer
	err := reading.Execute(&out, map[string]any{
		"Base": g.options.Address.Of(r), "Version": g.options.Version, "Bearer": g.options.Bearer,
		"Chapters": chapters, "Hooks": hooks, "Failure": schema("failure"), "Meta": schema("meta"), "Codes": codes,
	})
	if err != nil {
		http.Error(w, "the page could not be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	_, _ = w.Write(out.Bytes()) // an error here means that the client has gone
}

// within returns a schema and those of the objects in it.
func within(s Schema) []Schema {
	list := []Schema{s}
	for _, f := range s.Fields {
		k := strings.TrimSuffix(strings.TrimPrefix(f.Kind, "maybe "), "?")
		if name, ok := strings.CutPrefix(strings.TrimPrefix(k, "list of "), "object "); ok {
			list = append(list, within(schema(name))...)
		}
	}
	return list
}

// file serves the page's style and script.
func (g *Guide) file(w http.ResponseWriter, r *http.Request) {
	switch name := r.PathValue("file"); name {
	case "docs.css", "docs.js":
		w.Header().Set("Cache-Control", "max-age=300")
		http.ServeFileFS(w, r, files, "page/"+name)
	default:
		http.NotFound(w, r)
	}
}

// schema finds a schema by name.
func schema(name string) Schema {
	for _, s := range schemas {
		if s.Name == name {
			return s
		}
	}
	panic("no schema " + name)
}
