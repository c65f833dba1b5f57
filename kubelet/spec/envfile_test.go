package spec

import "testing"

func TestEnvFile(t *testing.T) {
	for _, c := range []struct{ name, file, key, want, err string }{
		{name: "plain", file: "A='1'\nB='2'\n", key: "B", want: "2"},
		{name: "no newline at the end", file: "A='1'", key: "A", want: "1"},
		{name: "lines of another system", file: "A='1'\r\nB='2'\r\n", key: "B", want: "2"},
		{name: "comments, blanks and indents", file: "# one\n\n \t\n\t A='1'  # two\n", key: "A", want: "1"},
		{name: "not there", file: "A='1'\n", key: "B"},
		{name: "nothing there", key: "A"},
		{name: "the first counts", file: "A='1'\nA='2'\n", key: "A", want: "1"},
		{name: "literal", file: `A='$X ${Y} \n "q" #=!'`, key: "A", want: `$X ${Y} \n "q" #=!`},
		{name: "several lines", file: "A='one\n\n # two\nA=three'\nB='2'", key: "A", want: "one\n\n # two\nA=three"},
		{name: "after several lines", file: "A='one\ntwo'\nB='2'", key: "B", want: "2"},
		{name: "empty", file: "A=''", key: "A"},
		{name: "a space after the sign", file: "A= 'x'\nB='2'", key: "A"},
		{name: "beyond it", file: "A= x\nB='2'", key: "B", want: "2"},
		{name: "what follows is not looked at", file: "A='1'\nrubbish", key: "A", want: "1"},
		{name: "no sign", file: "A='1'\nrubbish\n", key: "B", err: "invalid environment variable format at line 2: missing '='"},
		{name: "no name", file: "='1'", key: "A", err: "invalid environment variable format at line 1: empty variable name"},
		{name: "blank name", file: "A='1'\n = '1'", key: "B", err: "invalid environment variable format at line 2: empty variable name"},
		{name: "a space before the sign", file: "A ='1'", key: "A", err: "invalid environment variable format at line 1: whitespace before '=' is not allowed"},
		{name: "no quotes", file: "A=1", key: "A", err: "invalid environment variable format at line 1: value must be enclosed in single quotes"},
		{name: "double quotes", file: `A="1"`, key: "A", err: "invalid environment variable format at line 1: value must be enclosed in single quotes"},
		{name: "text after the quote", file: "A='1'x", key: "A", err: "invalid environment variable format at line 1: unexpected content after closing quote"},
		{name: "open to the end", file: "A='1\n2\n", key: "A", err: "invalid environment variable format at line 2: unclosed single quote"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := envFileValue([]byte(c.file), c.key)
			if text := errorText(err); got != c.want || text != c.err {
				t.Errorf("%q, %q; want %q, %q", got, text, c.want, c.err)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
