// The only file of the image `bare`, which has no shell: it prints its arguments and its working
// directory, so that a test can see that a script called it, and exits with $BARE_EXIT.
package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

func main() {
	directory, _ := os.Getwd()
	fmt.Printf("bare %s in %s\n", strings.Join(os.Args[1:], " "), directory)
	code, _ := strconv.Atoi(os.Getenv("BARE_EXIT"))
	os.Exit(code)
}
