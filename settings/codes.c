/*
 * settings/codes.c - what each code of files, syntax (E1xx) and settings (E3xx)
 * means, at length, for `sallyctl help E112`. The policy's own codes (E2xx) have
 * their table in rules/. Pure.
 */
#include <string.h>

#include "settings/tree.h"

static const struct code {
	const char *code, *text;
} codes[] = {
    {"E101", "A file cannot be read.\n\n"
	     "The settings or policy file, an included file or a table does not exist or may not\n"
	     "be read by the one who runs this. Relative names in @include and file: start at the\n"
	     "folder of the policy file, policy = \"...\" at the folder of the settings file.\n"},
    {"E102", "A key is unknown.\n\n"
	     "Nothing in a file is ignored: a misspelled key could otherwise leave a rule wider\n"
	     "than it reads. The manual lists the keys of each section.\n"},
    {"E103", "What is named is not a regular file.\n\n"
	     "Folders, devices, pipes and sockets are never read.\n"},
    {"E104",
     "A file is writable by everybody.\n\n"
     "Whoever can write the policy can open the door. Take the right away: chmod o-w FILE\n"},
    {"E105", "A file is too large.\n\n"
	     "One file may have 256 MiB. Split the policy with @include, or put sets of addresses\n"
	     "and names into several tables.\n"},
    {"E106", "A file starts with a byte order mark.\n\n"
	     "Files are UTF-8 without BOM. Most editors can save a file so.\n"},
    {"E107",
     "A file holds a control character.\n\n"
     "Only tab and line ends (LF or CR LF) may stand in a file. Characters that change the\n"
     "direction of writing are refused too: with them a line shows otherwise than it reads.\n"},
    {"E108", "A file is not UTF-8.\n\n"
	     "Perhaps it was written in Latin-1 or another old encoding. Convert it, for instance\n"
	     "with iconv -f latin1 -t utf-8.\n"},
    {"E109", "A character beyond ASCII stands where only ASCII may.\n\n"
	     "Comments and the values of owner, ticket and why may hold any character. Names,\n"
	     "hosts and users are ASCII, so that none can be mistaken for another that looks the\n"
	     "same. Host names beyond ASCII are written in their xn-- form.\n"},
    {"E110",
     "The syntax is wrong here.\n\n"
     "A file is a row of settings: name = value. A value is a string in quotes, a number,\n"
     "true or false, an array [ a, b ] of such values, a list ( ) or a group { } of\n"
     "settings. A ';' may follow each setting. No ',' may stand before a closing bracket.\n"},
    {"E111",
     "A comment is never closed.\n\n"
     "libconfig passes over the rest of the file in silence, and over the rest of the file\n"
     "that includes it. Close the comment with */ or begin each line with #.\n"},
    {"E112",
     "A string is not closed on its line.\n\n"
     "Strings may not hold line ends: a forgotten quote would swallow everything up to the\n"
     "next one. A line end within a value is written \\n.\n"},
    {"E113", "Two strings stand side by side.\n\n"
	     "libconfig joins them, so that a forgotten comma makes one name of two. Put a comma\n"
	     "between them, and [ ] around several values.\n"},
    {"E114",
     "A backslash stands before a letter that gives it no sure meaning.\n\n"
     "Known are \\\\ \\\" \\n \\r \\t \\f and \\x01 to \\x7f. Others differ between the versions\n"
     "of libconfig. A backslash itself is written \\\\; in patterns [.] is easier than \\\\.\n"},
    {"E115", "A number is out of range.\n\n"
	     "A plain whole number goes from -2147483648 to 2147483647 (0x7fffffff). Without this\n"
	     "error 4294967296 would read as 0. Larger ones need an L behind them: 4294967296L.\n"},
    {"E116", "Something starts like a number and is none.\n\n"
	     "Quantities with a unit, addresses and prefixes are strings and stand in quotes:\n"
	     "\"30 s\", \"1 GiB\", \"10.0.0.0/8\".\n"},
    {"E117",
     "A name is given twice in one group.\n\n"
     "Each key, object and rule stands once. Which one should hold is not for us to guess.\n"},
    {"E118",
     "A bracket is never closed.\n\n"
     "The place is that of the opening one; where it can be told, the help says what stood\n"
     "there instead.\n"},
    {"E119", "An array holds values of different kinds.\n\n"
	     "All values within [ ] are strings, or all are numbers of one size, and so on.\n"},
    {"E120",
     "An @include cannot be followed.\n\n"
     "It is written @include \"file\" or @include \"folder/*.conf\", where a setting may stand.\n"
     "The files of a pattern are read in the order of the bytes of their names.\n"},
    {"E121", "A file includes itself, directly or through others.\n"},
    {"E122", "Too many files include each other.\n\n"
	     "Includes may be nested 10 deep and bring 10,000 files in all.\n"},
    {"E123", "Groups and lists are nested more than 64 deep.\n"},
    {"E130", "libconfig and our own reader disagree about a file.\n\n"
	     "Every file is read twice, and nothing is loaded unless both read the same. Please\n"
	     "report the line, and write it more plainly until it is mended.\n"},
    {"W101",
     "No file matches the pattern of an @include.\n\n"
     "That may be meant (an empty folder), so it is only a warning. A name without *, ? or\n"
     "[ must exist.\n"},
    {"E301", "A setting has a value of the wrong type.\n\n"
	     "Numbers stand without quotes, strings with quotes, several values within [ ].\n"},
    {"E302", "A number or quantity is out of its bounds.\n\n"
	     "The manual gives the bounds of each setting.\n"},
    {"E303",
     "A quantity is not understood.\n\n"
     "It is a number, a blank and a unit, in quotes: \"500 ms\", \"30 s\", \"2 min\", \"8 h\",\n"
     "\"7 d\"; \"512 B\", \"64 KiB\", \"1 GiB\". A quantity without unit is never guessed at.\n"},
    {"E304",
     "An address, endpoint or prefix is not in strict notation.\n\n"
     "IPv4 is four decimal numbers without leading zeros. IPv6 has no zone. A port stands\n"
     "behind a colon, and an IPv6 address is then in brackets: \"[::1]:53\". A prefix has no\n"
     "bits set behind its length.\n"},
    {"E305", "A setting takes one of a few words, and this is none of them.\n"},
    {"E306",
     "A name is not a good one.\n\n"
     "Names of listeners start with a letter, then letters, digits, '-' and '_' follow, 64\n"
     "in all.\n"},
    {"E307", "Two listeners share one address and port.\n\n"
	     "The kernel would refuse the second one.\n"},
    {"E308", "There is no listener.\n\n"
	     "A server needs at least one address to listen on:\n"
	     "listeners: { inside: { address = \"10.0.0.1\"; port = 1080 } }\n"},
    {"E309", "A setting that must be given is missing.\n"},
    {"E310", "A path or name is empty or too long.\n"},
    {"E311", "There are too many values.\n"},
    {"E312",
     "A set is empty.\n\n"
     "An empty [ ] or \"\" is never taken for \"none\" or \"all\": leave the key out instead.\n"},
    {"E313", "A range of ports is not understood.\n\n"
	     "It is written \"30000-39999\", from 1 to 65535, the lower port first.\n"},
    {"E314",
     "A line of a file of users is wrong.\n\n"
     "A line is name:hash, in the file of CHAP secrets name:secret; comments have a '#' at their\n"
     "start. A name stands once. Hashes are those of crypt(5); sallyctl passwd makes them. The\n"
     "line itself is never shown. While a line is wrong the server stays with the users that it\n"
     "has read before.\n"},
    {"E315",
     "A copy of the ledger goes to a place that is not understood.\n\n"
     "It is \"tcp:ADDRESS:PORT\" or \"udp:ADDRESS:PORT\" for a syslog server, an IPv6 address\n"
     "in brackets; \"unix:/PATH\" for one on this machine; or \"journald\". Names of hosts are\n"
     "not looked up: where records go shall not depend on a name server.\n"},
    {"E316", "The ledger cannot be copied.\n\n"
	     "Copies are read from the ledger's file, so that they can never hold it up, and told\n"
	     "from its full records: audit.format is \"ecs\", and audit.file is a file.\n"},
    {"E317", "A copy of the ledger has a setting that means nothing for it.\n\n"
	     "framing says where a message ends in a stream. A datagram (udp, journald) is one\n"
	     "message.\n"},
    {"W301", "A value stands twice in one set.\n"},
    {"W302", "This machine has no such account.\n\n"
	     "Files may be checked on another machine than the one they are for, so it is only a\n"
	     "warning here; the server will not start without the account it is to run as.\n"},
    {"W303", "This machine has no such group.\n\n"
	     "Nobody is in it until it exists.\n"},
    {"W304", "A file that the settings name cannot be found on this machine.\n\n"
	     "The method of authentication that needs it accepts nobody until it is there.\n"},
    {"W305", "A file of users cannot be looked into, or will not be used.\n\n"
	     "A file of hashes may be read by its owner and group and written by its owner alone;\n"
	     "one of CHAP secrets has mode 0600. The server does not use one that is more open:\n"
	     "chmod 0600 FILE\n"},
    {"W306",
     "A password hash is weak.\n\n"
     "Hashes of this kind (DES, MD5) are guessed quickly by who gets hold of the file. Set\n"
     "the password anew: sallyctl passwd add NAME\n"},
    {"W307", "This machine has no such PAM service.\n\n"
	     "Without a file for the service in /etc/pam.d nobody is accepted by PAM; that of the\n"
	     "service 'other' is not taken instead.\n"},
};

const char *
problem_explain(const char *code)
{
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (strcmp(codes[i].code, code) == 0)
			return codes[i].text;
	return NULL;
}
