package support

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"maps"
	"regexp"
	"slices"
	"strings"

	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
)

// gone is what stands where a secret was.
const gone = "REDACTED"

// shortest is how long a value must be to be looked for everywhere: a shorter one
// may be part of any word. Where it is seen to be a secret, it is removed anyway.
const shortest = 6

// telling are the words in names of things that are secret.
const telling = `pass(?:word|wd|phrase)?|pwd|secret|token|credential|api[-_]?key|access[-_]?key|private[-_]?key|client[-_]key[-_]data|certificate[-_]?key|encryption[-_]?key|signing[-_]?key|auth`

// cues are parts of lines that may have a secret in them, in lower case: most
// lines have none, and are not looked at any closer.
func cues() [][]byte {
	var all [][]byte
	for _, cue := range []string{"pass", "pwd", "secret", "token", "credential", "key", "auth", "bearer", "basic"} {
		all = append(all, []byte(cue))
	}
	return all
}

// secrets are what is to be removed: values that were seen to be secret, and all
// that looks like a secret.
type secrets struct {
	known map[string]bool
	name  *regexp.Regexp // names of what is secret
	flag  *regexp.Regexp // flags whose value is
	whole []rule         // about a text
	line  []rule         // about a line with a cue
	cues  [][]byte
	// fields have a name that tells, and a value: flags, assignments and fields.
	fields []*regexp.Regexp
}

// A rule is how a kind of secret looks, and what is put in its place. An
// expression that begins with something literal is found fast.
type rule struct {
	is  *regexp.Regexp
	put string
}

func newSecrets() *secrets {
	value := `("(?:[^"\\]|\\.)*"|'[^']*'|[^\s,}\]\[{"']+)`
	return &secrets{
		known: map[string]bool{}, cues: cues(),
		name: regexp.MustCompile(`(?i)(?:` + telling + `|_key|^key)$`),
		flag: regexp.MustCompile(`(?i)^--?[\w-]*(?:` + telling + `|key)$`),
		whole: []rule{
			// Keys, also such as are cut off.
			{regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(?:-----END [A-Z ]*PRIVATE KEY-----)?`), gone},
			// Tokens of service accounts.
			{regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*`), gone},
			{regexp.MustCompile(`://[^/\s:@"']+:[^/\s@"']+@`), "://" + gone + "@"},
			// Variables, as YAML and JSON have them.
			{regexp.MustCompile(`name: *["']?[\w.-]*(?i:` + telling + `)[\w.-]*["']? *\n *value: *[^\n]+`), ""},
			{regexp.MustCompile(`"name": *"[^"]*(?i:` + telling + `)[^"]*", *\n? *"value": *"(?:[^"\\]|\\.)*"`), ""},
		},
		line: []rule{{regexp.MustCompile(`(?i)\b(bearer|basic) +[A-Za-z0-9._~+/=-]{8,}`), "$1 " + gone}},
		fields: []*regexp.Regexp{
			regexp.MustCompile(`(?i)(--[\w-]*(?:` + telling + `|key)[ =])` + value),
			regexp.MustCompile(`(?i)([\w.-]*(?:` + telling + `)["']?[ \t]*[:=][ \t]*)` + value),
		},
	}
}

// learn finds values that are secret by where they are in a document: variables,
// fields and Secrets. What is no document has none.
func (s *secrets) learn(document []byte) {
	reader := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(document), 4096)
	for {
		var v any
		if reader.Decode(&v) != nil {
			return
		}
		s.walk(v)
	}
}

func (s *secrets) walk(v any) {
	switch v := v.(type) {
	case []any:
		for i, e := range v {
			if flag, ok := e.(string); ok && i+1 < len(v) && s.flag.MatchString(flag) {
				value, _ := v[i+1].(string) // "--token", "…"
				s.add(value)
			}
			s.walk(e)
		}
	case map[string]any:
		if v["kind"] == "Secret" {
			s.learnSecret(v)
		}
		name, _ := v["name"].(string)
		if value, ok := v["value"].(string); ok && s.secretVariable(name) {
			s.add(value)
		}
		for key, e := range v {
			if text, ok := e.(string); ok && s.name.MatchString(key) {
				s.add(text)
			}
			s.walk(e)
		}
	}
}

// secretVariable says whether the name of a variable tells that it is secret.
func (s *secrets) secretVariable(name string) bool {
	return slices.ContainsFunc(strings.FieldsFunc(name, func(r rune) bool { return r == '_' || r == '-' || r == '.' }), func(word string) bool {
		return s.name.MatchString(word)
	}) || s.name.MatchString(name)
}

// learnSecret learns all that a Secret holds, as it is and as it means.
func (s *secrets) learnSecret(v map[string]any) {
	for _, field := range []string{"data", "stringData"} {
		values, _ := v[field].(map[string]any)
		for _, value := range values {
			text, _ := value.(string)
			s.add(text)
			if plain, err := base64.StdEncoding.DecodeString(text); err == nil && field == "data" {
				s.add(string(plain))
			}
		}
	}
}

// add has a value removed everywhere, also in base64. Words that are settings
// rather than secrets, and paths, are left alone.
func (s *secrets) add(value string) {
	value = strings.TrimSpace(value)
	if len(value) < shortest || strings.HasPrefix(value, "/") || value == gone || isSetting(value) {
		return
	}
	s.known[value] = true
	s.known[strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(value)), "=")] = true
}

// isSetting says whether a value is one of a few words or a number.
func isSetting(value string) bool {
	value = strings.Trim(value, `"'`)
	return value == "" || slices.Contains([]string{"true", "false", "null", "none", "File", "Webhook", gone}, value) ||
		strings.Trim(value, "0123456789smhd.") == ""
}

// encoded is base64 of PEM.
var encoded = regexp.MustCompile(`LS0tLS1[A-Za-z0-9+/]{20,}={0,2}`)

// remove returns the text without what is secret.
func (s *secrets) remove(text []byte) []byte {
	longest := slices.SortedFunc(maps.Keys(s.known), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b))
	})
	for _, value := range longest {
		text = bytes.ReplaceAll(text, []byte(value), []byte(gone))
	}
	text = encoded.ReplaceAllFunc(text, func(match []byte) []byte {
		plain, _ := base64.StdEncoding.DecodeString(string(match[:len(match)/4*4])) // the beginning tells
		if bytes.Contains(plain, []byte("PRIVATE KEY")) {
			return []byte(gone)
		}
		return match
	})
	for _, r := range s.whole {
		text = r.is.ReplaceAllFunc(text, func(match []byte) []byte {
			if r.put != "" {
				return r.is.ReplaceAll(match, []byte(r.put))
			}
			return withoutValue(match)
		})
	}
	return s.removeLines(joinTokens(text))
}

// withoutValue removes the value of a variable.
func withoutValue(variable []byte) []byte {
	i := bytes.LastIndex(variable, []byte("value"))
	i += bytes.IndexByte(variable[i:], ':')
	return append(slices.Clone(variable[:i+1]), ` "`+gone+`"`...)
}

// joinTokens removes the secret half of the tokens by which nodes join:
// "abcdef.0123456789abcdef".
func joinTokens(text []byte) []byte {
	const public, private = 6, 16
	out := text
	for i := 0; ; i++ {
		at := bytes.IndexByte(text[i:], '.')
		if at < 0 {
			return out
		}
		i += at
		if i < public || !isToken(text[i-public:i]) || i+1+private > len(text) || !isToken(text[i+1:i+1+private]) {
			continue
		}
		if i > public && isToken(text[i-public-1:i-public]) || i+1+private < len(text) && isToken(text[i+1+private:i+2+private]) {
			continue
		}
		if &out[0] == &text[0] {
			out = slices.Clone(text)
		}
		copy(out[i+1:], gone+strings.Repeat("*", private-len(gone)))
	}
}

func isToken(b []byte) bool {
	for _, c := range b {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// removeLines goes through the lines that have a cue.
func (s *secrets) removeLines(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for line := range bytes.Lines(text) {
		lower := bytes.ToLower(line)
		if slices.ContainsFunc(s.cues, func(cue []byte) bool { return bytes.Contains(lower, cue) }) {
			for _, r := range s.line {
				line = r.is.ReplaceAll(line, []byte(r.put))
			}
			for _, field := range s.fields {
				line = removeFields(field, line)
			}
		}
		out = append(out, line...)
	}
	return out
}

// removeFields removes the values of fields whose names tell that they are secret.
func removeFields(field *regexp.Regexp, text []byte) []byte {
	return field.ReplaceAllFunc(text, func(match []byte) []byte {
		parts := field.FindSubmatch(match)
		name, value := string(parts[1]), string(parts[2])
		switch {
		case isSetting(value) || strings.HasPrefix(strings.Trim(value, `"'`), "/"):
			return match
		case strings.HasPrefix(value, `"`):
			return []byte(name + `"` + gone + `"`)
		default:
			return []byte(name + gone)
		}
	})
}
