package apidoc

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// doors are the packages whose routes, parameters and answers the tables
// describe.
var doors = []string{"supersim", "coreapi", "kore", "remote"}

// A source is what the tests need to know of a door's source.
type source struct {
	functions map[string]*ast.FuncDecl
	handlers  map[string]ast.Expr // "GET /v1/Things/{}" → its handler
	answers   map[string][]string // struct → names of its properties, sorted
	constants map[string]string
}

func readSource(t *testing.T, door string) source {
	t.Helper()
	s := source{map[string]*ast.FuncDecl{}, map[string]ast.Expr{}, map[string][]string{}, map[string]string{}}
	files, err := filepath.Glob(filepath.Join("..", door, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no source of %s: %v", door, err)
	}
	var all []*ast.File
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, text, 0)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, parsed)
		for _, declaration := range parsed.Decls {
			if f, ok := declaration.(*ast.FuncDecl); ok {
				s.functions[f.Name.Name] = f
			}
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if n, ok := n.(*ast.ValueSpec); ok {
				for i, value := range n.Values {
					if literal, ok := value.(*ast.BasicLit); ok && literal.Kind == token.STRING {
						s.constants[n.Names[i].Name], _ = strconv.Unquote(literal.Value)
					}
				}
			}
			return true
		})
	}
	for _, parsed := range all { // routes name functions and constants of any file
		ast.Inspect(parsed, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.TypeSpec:
				if object, ok := n.Type.(*ast.StructType); ok {
					s.properties(n.Name.Name, object)
				}
			case *ast.CompositeLit:
				s.route(n)
			}
			return true
		})
	}
	return s
}

// properties notes the JSON names of a struct.
func (s source) properties(name string, object *ast.StructType) {
	var names []string
	for _, f := range object.Fields.List {
		if f.Tag == nil {
			continue
		}
		tag, _ := strconv.Unquote(f.Tag.Value)
		property, _, _ := strings.Cut(reflect.StructTag(tag).Get("json"), ",")
		if property != "" && property != "-" {
			names = append(names, property)
		}
	}
	if len(names) > 0 {
		slices.Sort(names)
		s.answers[name] = names
	}
}

// path returns the path of a row: literals, and constants of this door.
func (s source) path(row *ast.CompositeLit) (path string) {
	for _, e := range row.Elts {
		pair, ok := e.(*ast.KeyValueExpr)
		if !ok {
			continue
		}
		if key, ok := pair.Key.(*ast.Ident); !ok || key.Name != "Path" {
			continue
		}
		ast.Inspect(pair.Value, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BasicLit:
				text, _ := strconv.Unquote(n.Value)
				path += text
			case *ast.Ident:
				path += s.constants[n.Name]
			}
			return true
		})
	}
	return path
}

// route notes the handlers of one row of the route table.
func (s source) route(row *ast.CompositeLit) {
	path, methods := s.path(row), (*ast.CompositeLit)(nil)
	for _, e := range row.Elts {
		pair, ok := e.(*ast.KeyValueExpr)
		if !ok {
			continue
		}
		key, _ := pair.Key.(*ast.Ident)
		switch value := pair.Value.(type) {
		case *ast.CompositeLit:
			if key != nil && key.Name == "Methods" {
				methods = value
			}
		}
	}
	if !strings.HasPrefix(path, "/") || methods == nil {
		return // made when the door is: TestNeighbours sees it
	}
	for _, e := range methods.Elts {
		pair := e.(*ast.KeyValueExpr)
		method := ""
		switch key := pair.Key.(type) {
		case *ast.BasicLit:
			method, _ = strconv.Unquote(key.Value)
		case *ast.SelectorExpr: // http.MethodGet
			method = strings.ToUpper(strings.TrimPrefix(key.Sel.Name, "Method"))
		}
		s.handlers[method+" "+shape(path)] = pair.Value
	}
}

var parameter = regexp.MustCompile(`^[A-Z][a-z]+([A-Z][a-z]+)*$`)

// words look like parameters and are none.
var wordsOnly = []string{"File", "Full", "Truncated", "Point"}

// read returns the parameter that a call of a form's getter names, in whatever
// case: f.String("page_size").
func read(call *ast.CallExpr) (name string) {
	getter, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || len(call.Args) == 0 {
		return ""
	}
	form, ok := getter.X.(*ast.Ident)
	literal, isText := call.Args[0].(*ast.BasicLit)
	if !ok || form.Name != "f" || !isText || literal.Kind != token.STRING || getter.Sel.Name == "Fail" {
		return ""
	}
	name, _ = strconv.Unquote(literal.Value)
	return name
}

// parameters returns the names of parameters in the source of something and in
// the functions of its package that are called or named there: a handler stands
// alone in its row, within a function that wraps it, or is what functions make of
// others.
func (s source) parameters(of ast.Node, seen map[string]bool) (names []string) {
	_, row := of.(ast.Expr) // in a function's body, names are those of variables
	follow := func(function string) {
		if f := s.functions[function]; f != nil && !seen[function] {
			seen[function] = true
			names = append(names, s.parameters(f.Body, seen)...)
		}
	}
	ast.Inspect(of, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BasicLit:
			if text, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING && parameter.MatchString(text) && !slices.Contains(wordsOnly, text) {
				names = append(names, text)
			}
		case *ast.CallExpr:
			if name := read(n); name != "" {
				names = append(names, name)
			}
			for _, argument := range n.Args {
				if name, ok := argument.(*ast.Ident); ok && row {
					follow(name.Name)
				}
			}
			switch called := n.Fun.(type) {
			case *ast.Ident:
				follow(called.Name)
			case *ast.SelectorExpr:
				if called.Sel.Name == "Page" {
					names = append(names, "Page", "PageSize", "PageToken") // web's own
				}
			}
		case *ast.SelectorExpr:
			// Other packages' functions of the same name are none of ours.
			if on, ok := n.X.(*ast.Ident); ok && on.Name == "d" {
				follow(n.Sel.Name)
			}
		}
		return true
	})
	slices.Sort(names)
	return slices.Compact(names)
}

// TestParameters holds the parameters of the tables against those that the
// handlers read.
func TestParameters(t *testing.T) {
	operations := map[string]Operation{}
	for _, op := range all() {
		operations[op.Method+" "+shape(op.Path)] = op
	}
	checked := 0
	for _, door := range doors {
		s := readSource(t, door)
		for route, handler := range s.handlers {
			op, ok := operations[route]
			if !ok {
				t.Errorf("%s (%s) is served and not in the tables", route, door)
				continue
			}
			if op.Body != "" {
				continue
			}
			var want []string
			for _, p := range op.Params {
				want = append(want, p.Name)
			}
			slices.Sort(want)
			if got := s.parameters(handler, map[string]bool{}); !slices.Equal(got, want) {
				t.Errorf("%s: %s reads the parameters\n%v, the tables have\n%v", route, door, got, want)
			}
			checked++
		}
	}
	if checked < 20 {
		t.Errorf("only %d routes were found", checked)
	}
}

// TestProperties holds the schemas against the structs that are written: each
// struct whose name ends in JSON has a schema with the same properties.
func TestProperties(t *testing.T) {
	known := map[string]bool{}
	for _, s := range schemas {
		var names []string
		for _, f := range s.Fields {
			names = append(names, f.Name)
		}
		slices.Sort(names)
		known[strings.Join(names, " ")] = true
	}
	checked := 0
	for _, door := range doors {
		for name, properties := range readSource(t, door).answers {
			if !strings.HasSuffix(name, "JSON") && name != "failure" {
				continue
			}
			if !known[strings.Join(properties, " ")] {
				t.Errorf("%s.%s has the properties %v, no schema has just these", door, name, properties)
			}
			checked++
		}
	}
	if checked < 8 {
		t.Errorf("only %d structs were found", checked)
	}
}
