// Boot turns a Linux host into a Kubernetes node.
package main

import "os"

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }
