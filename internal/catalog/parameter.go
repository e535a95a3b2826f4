package catalog

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
)

const module = "github.com/serin-cd/serin"

// Parameter is one field of a step's configuration, as its Task offers it.
type Parameter struct {
	Name        string // kebab-case
	Default     string
	Required    bool
	Description string // the field's comment
}

// Variable is the name of a parameter in the environment.
func (p Parameter) Variable() string {
	return "PARAM_" + strings.ToUpper(strings.ReplaceAll(p.Name, "-", "_"))
}

// Parameters reads the configuration of a step from its source: the struct named config, and the
// structs of this module that are its fields. The identity of the run is no parameter.
func Parameters(root, step string) ([]Parameter, error) {
	s := source{root}
	found, err := s.structure(path.Join("steps", step), "config")
	if err != nil {
		return nil, fmt.Errorf("reading the parameters of %s: %w", step, err)
	}
	return found, nil
}

// source is the root folder of the module.
type source struct{ root string }

func (s source) structure(folder, name string) ([]Parameter, error) {
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
		if fields := structure(parsed, name); fields != nil {
			return s.fields(parsed, folder, fields)
		}
	}
	return nil, fmt.Errorf("no struct %s in %s", name, folder)
}

func structure(file *ast.File, name string) *ast.FieldList {
	for _, declared := range file.Decls {
		types, ok := declared.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range types.Specs {
			if named, ok := spec.(*ast.TypeSpec); ok && named.Name.Name == name {
				if found, ok := named.Type.(*ast.StructType); ok {
					return found.Fields
				}
			}
		}
	}
	return nil
}

func (s source) fields(file *ast.File, folder string, fields *ast.FieldList) ([]Parameter, error) {
	var all []Parameter
	for _, field := range fields.List {
		tag := ""
		if field.Tag != nil {
			text, err := strconv.Unquote(field.Tag.Value)
			if err != nil {
				return nil, err
			}
			tag = reflect.StructTag(text).Get("env")
		}
		key, options, _ := strings.Cut(tag, ",")
		switch {
		case strings.Contains(options, "prefix=RUN_"), tag == "" && len(field.Names) > 0 && !field.Names[0].IsExported():
		case key != "":
			p, err := parameter(key, options, field)
			if err != nil {
				return nil, err
			}
			all = append(all, p)
		default:
			nested, err := s.nested(file, folder, field.Type)
			if err != nil {
				return nil, err
			}
			all = append(all, nested...)
		}
	}
	return all, nil
}

// nested are the fields of a field whose type is a struct of this module.
func (s source) nested(file *ast.File, folder string, of ast.Expr) ([]Parameter, error) {
	switch of := of.(type) {
	case *ast.Ident:
		return s.structure(folder, of.Name)
	case *ast.SelectorExpr:
		for _, imported := range file.Imports {
			name, err := strconv.Unquote(imported.Path.Value)
			if err != nil {
				return nil, err
			}
			inside, ok := strings.CutPrefix(name, module+"/")
			if from, isName := of.X.(*ast.Ident); ok && isName && path.Base(name) == from.Name {
				return s.structure(inside, of.Sel.Name)
			}
		}
	}
	return nil, fmt.Errorf("a field without env tag in %s that is no struct of this module", folder)
}

func parameter(key, options string, field *ast.Field) (Parameter, error) {
	p := Parameter{
		Name:        strings.ToLower(strings.ReplaceAll(key, "_", "-")),
		Description: strings.Join(strings.Fields(field.Doc.Text()), " "),
	}
	if p.Description == "" {
		return p, fmt.Errorf("parameter %s has no comment, want one: it is its description", p.Name)
	}
	options = strings.TrimSpace(options)
	p.Required = options == "required"
	p.Default, _ = strings.CutPrefix(options, "default=")
	if p.Required {
		p.Default = ""
	}
	return p, nil
}
