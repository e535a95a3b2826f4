package catalog

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/serin-cd/serin/pkg/task/parameter"
)

const module = "github.com/serin-cd/serin"

// Parameter is one field of a step's configuration, as its Task offers it.
type Parameter struct {
	parameter.Parameter
	Description string // the field's comment
}

// Variable is the name of a parameter in the environment.
func (p Parameter) Variable() string { return variable(p.Name) }

func variable(name string) string { return "PARAM_" + parameter.Key(name) }

// Parameters reads the configuration of a step from its source, for its comments: the struct named config, and the
// structs of this module that are its fields. The identity of the run is no parameter.
func Parameters(root, step string) ([]Parameter, error) {
	found, err := source{root}.structure(path.Join("steps", step), "config", "")
	if err != nil {
		return nil, fmt.Errorf("reading the parameters of %s: %w", step, err)
	}
	found = slices.DeleteFunc(found, func(p Parameter) bool { return p.OfRun() })
	for _, p := range found {
		if p.Description == "" {
			return nil, fmt.Errorf("reading the parameters of %s: %s has no comment, want one: it is its description",
				step, p.Name)
		}
	}
	return found, nil
}

// source is the root folder of the module.
type source struct{ root string }

// structure are the fields of a struct in a folder, whose keys begin with a prefix.
func (s source) structure(folder, name, prefix string) ([]Parameter, error) {
	files, err := filepath.Glob(filepath.Join(s.root, filepath.FromSlash(folder), "*.go"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		if found := structure(parsed, name); found != nil {
			return s.fields(place{folder, parsed}, found, prefix)
		}
	}
	return nil, fmt.Errorf("no struct %s in %s", name, folder)
}

func structure(file *ast.File, name string) *ast.StructType {
	for _, declared := range file.Decls {
		types, ok := declared.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range types.Specs {
			if named, ok := spec.(*ast.TypeSpec); ok && named.Name.Name == name {
				found, _ := named.Type.(*ast.StructType)
				return found
			}
		}
	}
	return nil
}

// place is where a struct stands.
type place struct {
	folder string
	file   *ast.File
}

func (s source) fields(at place, of *ast.StructType, prefix string) ([]Parameter, error) {
	var all []Parameter
	for _, field := range of.Fields.List {
		tag, err := tagOf(field)
		if err != nil {
			return nil, err
		}
		read, nested, ok := parameter.FromTag(tag)
		switch {
		case ok:
			read.Name = parameter.Name(prefix) + read.Name
			all = append(all, Parameter{read, strings.Join(strings.Fields(field.Doc.Text()), " ")})
		case tag.Get("env") != "" || len(field.Names) == 0 || field.Names[0].IsExported():
			inner, err := s.nested(at, field.Type, prefix+nested)
			if err != nil {
				return nil, err
			}
			all = append(all, inner...)
		}
	}
	return all, nil
}

func tagOf(field *ast.Field) (reflect.StructTag, error) {
	if field.Tag == nil {
		return "", nil
	}
	text, err := strconv.Unquote(field.Tag.Value)
	return reflect.StructTag(text), err
}

// nested are the fields of a field whose type is a struct of this module.
func (s source) nested(at place, of ast.Expr, prefix string) ([]Parameter, error) {
	switch of := of.(type) {
	case *ast.StructType:
		return s.fields(at, of, prefix)
	case *ast.Ident:
		return s.structure(at.folder, of.Name, prefix)
	case *ast.SelectorExpr:
		if from, ok := of.X.(*ast.Ident); ok {
			if folder, ok := at.imported(from.Name); ok {
				return s.structure(folder, of.Sel.Name, prefix)
			}
		}
	}
	return nil, fmt.Errorf("a field without env tag in %s that is no struct of this module", at.folder)
}

// imported is the folder of a package of this module, by its name in the file.
func (p place) imported(as string) (string, bool) {
	for _, i := range p.file.Imports {
		folder, ours := strings.CutPrefix(strings.Trim(i.Path.Value, `"`), module+"/")
		name := path.Base(folder)
		if i.Name != nil {
			name = i.Name.Name
		}
		if ours && name == as {
			return folder, true
		}
	}
	return "", false
}
