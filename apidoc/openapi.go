package apidoc

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// extension is the mark of what the hosted services do not have.
const extension = "x-godwit-extension"

type object = map[string]any

// OpenAPI returns the OpenAPI 3.1 document for a server at the given address.
func (g *Guide) OpenAPI(base string) map[string]any {
	paths, used := object{}, map[string]bool{"failure": true, "meta": true}
	for _, op := range g.operations {
		path, ok := paths[op.Path].(object)
		if !ok {
			path = object{}
			paths[op.Path] = path
		}
		path[strings.ToLower(op.Method)] = g.operation(op, used)
	}
	names := object{}
	for changed := true; changed; { // a schema may be used by one that is used
		changed = false
		for _, s := range schemas {
			if _, done := names[s.Name]; !done && used[s.Name] {
				names[s.Name], changed = s.openAPI(used), true
			}
		}
	}
	security := object{"basic": object{
		"type": "http", "scheme": "basic",
		"description": "AccountSid and AuthToken, or an API key and its secret.",
	}}
	if slices.ContainsFunc(g.operations, func(op Operation) bool { return op.Users }) {
		security["user"] = object{"type": "http", "scheme": "basic", "description": "Name and password of a user of the Remote Manager."}
		for name, header := range map[string]string{"api_key_id": "X-API-KEY-ID", "api_key_secret": "X-API-KEY-SECRET"} {
			security[name] = object{"type": "apiKey", "in": "header", "name": header}
		}
	}
	if g.options.Bearer {
		security["bearer"] = object{
			"type": "http", "scheme": "bearer", "bearerFormat": "JWT",
			"description": "An access token from the token endpoint.",
		}
	}
	var tags []object
	for _, r := range resources {
		if g.has(r.Name) {
			tags = append(tags, object{"name": r.Name, "description": r.About})
		}
	}
	return object{
		"openapi": "3.1.0",
		"info": object{
			"title": "Godwit", "version": g.options.Version,
			"description": "The Super SIM API, version 1, as this server serves it. What the hosted services do not have is marked " + extension + ".",
			"license":     object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
		},
		"servers":    []object{{"url": base}},
		"security":   g.security(),
		"tags":       tags,
		"paths":      paths,
		"webhooks":   g.webhooks(),
		"components": object{"schemas": names, "securitySchemes": security},
	}
}

func (g *Guide) has(resource string) bool {
	for _, op := range g.operations {
		if op.Resource == resource {
			return true
		}
	}
	return false
}

func (g *Guide) security() []object {
	ways := []object{{"basic": []string{}}}
	if g.options.Bearer {
		ways = append(ways, object{"bearer": []string{}})
	}
	return ways
}

func (g *Guide) operation(op Operation, used map[string]bool) object {
	o := object{"operationId": op.ID, "summary": op.Summary, "tags": []string{op.Resource}}
	if op.About != "" {
		o["description"] = op.About
	}
	if op.Extension {
		o[extension] = true
	}
	params := []object{}
	for _, m := range variable.FindAllStringSubmatch(op.Path, -1) {
		params = append(params, object{"name": m[1], "in": "path", "required": true, "schema": object{"type": "string"}})
	}
	switch {
	case op.Open:
		o["security"] = []object{}
	case op.Users:
		o["security"] = []object{{"user": []string{}}, {"api_key_id": []string{}, "api_key_secret": []string{}}}
	case op.Basic:
		o["security"] = []object{{"basic": []string{}}}
	}
	if op.repeatable() {
		params = append(params, object{
			"name": "Idempotency-Key", "in": "header", extension: true,
			"schema":      object{"type": "string", "pattern": "^[!-~]{1,255}$"},
			"description": "A request that is repeated with the same key is answered like the first.",
		})
	}
	hasBody := op.Body != "" || len(op.Files) > 0 || (op.Method == http.MethodPost || op.Method == http.MethodPatch) && !op.Query
	if hasBody {
		o["requestBody"] = body(op, used)
	}
	if !hasBody || op.Query || op.Body != "" {
		for _, f := range op.Params {
			p := object{"name": f.Name, "in": "query", "description": f.About, "schema": kind(f.Kind, used)}
			if f.Required {
				p["required"] = true
			}
			params = append(params, p)
		}
	}
	if len(params) > 0 {
		o["parameters"] = params
	}
	responses := object{"default": object{
		"description": "A refusal, or trouble of the server's own.",
		"content":     object{"application/json": object{"schema": reference(op.refusal())}},
	}}
	used[op.refusal()] = true
	for _, a := range op.Answers {
		responses[strconv.Itoa(a.Status)] = answer(a, used)
	}
	o["responses"] = responses
	return o
}

// body describes a form, or a JSON body.
func body(op Operation, used map[string]bool) object {
	if op.Body != "" {
		used[op.Body] = true
		schema := reference(op.Body)
		if op.Many {
			schema = object{"oneOf": []object{schema, {"type": "array", "items": schema}}}
		}
		return object{"required": true, "content": object{"application/json": object{"schema": schema}}}
	}
	properties, required := object{}, []string{}
	for _, f := range op.Params {
		p := kind(f.Kind, used)
		p["description"] = f.About
		properties[f.Name] = p
		if f.Required {
			required = append(required, f.Name)
		}
	}
	schema := object{"type": "object", "properties": properties}
	if len(required) > 0 {
		schema["required"] = required
	}
	content := object{"application/x-www-form-urlencoded": object{"schema": schema}}
	for _, kind := range op.Files {
		content[kind] = object{}
		if len(op.Params) == 0 || op.Query {
			delete(content, "application/x-www-form-urlencoded") // there is no form
		}
	}
	b := object{"content": content}
	if len(required) > 0 {
		b["required"] = true
	}
	return b
}

func answer(a Answer, used map[string]bool) object {
	o := object{"description": http.StatusText(a.Status)}
	if a.Type != "" {
		o["content"] = object{a.Type: object{}}
		return o
	}
	if a.Schema == "" {
		return o
	}
	used[a.Schema] = true
	schema := reference(a.Schema)
	if a.List != "" {
		schema = object{
			"type": "object", "required": []string{a.List, "meta"}, "additionalProperties": false,
			"properties": object{
				a.List: object{"type": "array", "items": reference(a.Schema)},
				"meta": object{"allOf": []object{reference("meta"), {"properties": object{"key": object{"const": a.List}}}}},
			},
		}
	}
	o["content"] = object{"application/json": object{"schema": schema}}
	return o
}

// openAPI describes an object: every property is always there, and no other.
func (s Schema) openAPI(used map[string]bool) object {
	properties, required := object{}, []string{}
	for _, f := range s.Fields {
		p := kind(f.Kind, used)
		if f.About != "" {
			p["description"] = f.About
		}
		properties[f.Name] = p
		if !optional(f.Kind) {
			required = append(required, f.Name)
		}
	}
	o := object{"type": "object", "properties": properties, "required": required, "additionalProperties": s.Open}
	if s.About != "" {
		o["description"] = s.About
	}
	if s.Extension {
		o[extension] = true
	}
	return o
}

// webhooks describe what the server tells others.
func (g *Guide) webhooks() object {
	out := object{}
	for _, h := range hooks {
		properties, names := object{}, []string{}
		for _, f := range h.Fields {
			p := kind(f.Kind, map[string]bool{})
			p["description"] = f.About
			properties[f.Name] = p
			if !optional(f.Kind) {
				names = append(names, f.Name)
			}
		}
		told := object{
			"summary": h.About,
			"requestBody": object{"content": object{"application/x-www-form-urlencoded": object{
				"schema": object{"type": "object", "properties": properties, "required": names},
			}}},
			"responses": object{"2XX": object{"description": "Taken. Anything else is tried again."}},
		}
		if h.Extension {
			told[extension] = true
		}
		out[h.Name] = object{"post": told}
	}
	return out
}

func reference(schema string) object { return object{"$ref": "#/components/schemas/" + schema} }
