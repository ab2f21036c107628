/*
 * rules/codes.c - what each code of the policy (E2xx, W2xx) means, at length, for `sallyctl help
 * E203`. Pure. Every code that this room gives stands here; a test sees to it.
 */
#include "rules/rules.h"

#include <string.h>

static const struct code {
	const char *code, *text;
} codes[] = {
    {"E201",
     "A key has a value of the wrong type.\n\n"
     "Words, addresses, dates and quantities are strings in quotes; numbers, true and false stand\n"
     "without them. One value needs no brackets, several stand in [ ]; ( ) is only for a list of "
     "rules.\n"},
    {"E202",
     "A name cannot be used.\n\n"
     "Names of objects, rules and tests are a letter, then letters, digits, '-' and '_', 64 in all "
     "at\n"
     "most. The built-in words are taken: any, public, private, loopback, link-local, multicast,\n"
     "unspecified, known, anyone, direct, policy-default.\n"},
    {"E203", "Nothing of this kind has this name.\n\n"
	     "A bare word in a rule is always the name of an object, never a host: networks, "
	     "hosts, services,\n"
	     "groups and times are named in their sections, in any order. Networks and hosts share "
	     "their names.\n"
	     "Literals may stand beside names: \"10.0.0.0/8\", \"*.a.example\", \"tcp/80\". A host "
	     "of one label is\n"
	     "written \"regex:^intranet$\" in a hosts object, or stands in a table.\n"},
    {"E204", "A value or set is empty.\n\n"
	     "An empty [ ], { } or \"\" is never taken for \"all\" or \"none\". A key that is left "
	     "out holds for\n"
	     "everything.\n"},
    {"E205", "A key is missing.\n\n"
	     "Every rule needs an action, and an allow rule says with \"to\" where it leads (to = "
	     "\"any\" is\n"
	     "possible). A test needs \"from\", \"to\" and \"expect\".\n"},
    {"E206", "A key takes one of a few words, and this is none of them.\n"},
    {"E207",
     "A name is given twice.\n\n"
     "The name of a rule is its identity in logs, counters and tests, so there can be one only.\n"
     "Networks and hosts share their names, because \"to\" takes both.\n"},
    {"E208",
     "An object contains itself, or objects are nested too deep.\n\n"
     "Objects may contain objects of their kind, but not in a circle, and 100 deep at most.\n"},
    {"E209", "An address or prefix is not in strict notation.\n\n"
	     "IPv4 is four decimal numbers without leading zeros, IPv6 as in RFC 4291 without a "
	     "zone; a prefix\n"
	     "is an address, '/' and a length, with no bits set behind it. Netmasks, ranges with a "
	     "dash, octal\n"
	     "numbers and IPv4 written as IPv6 are refused, because programs differ in how they "
	     "read them.\n"},
    {"E210",
     "A host pattern is not understood.\n\n"
     "\"a.example\" is that name, \"*.a.example\" what is below it, \".a.example\" both. Labels "
     "are 1 to 63\n"
     "letters, digits, '-' and '_', 253 in all at most, international names in their xn-- form. "
     "For\n"
     "anything else there is \"regex:...\". Addresses are networks, never host patterns.\n"},
    {"E211", "A regular expression is wrong.\n\n"
	     "\"regex:\" is followed by a Perl-compatible regular expression (PCRE2) of 1000 bytes "
	     "at most. It must\n"
	     "match the whole name, and letter case does not count. Callouts, (?C...), and verbs, "
	     "(*...), are not\n"
	     "allowed. In a file, [.] is easier to write than a backslash.\n"},
    {"E212", "A service is not understood.\n\n"
	     "A service is tcp/ or udp/ and a port or a range from 1 to 65535: \"tcp/443\", "
	     "\"udp/3478-3481\".\n"},
    {"E213", "A user or group is not understood.\n\n"
	     "In groups, a plain word is a user, \"@name\" another object of the section, "
	     "\"unix:name\" a Unix\n"
	     "group, \"file:...\" a table of users. Names are ASCII without blanks and compare "
	     "byte by byte.\n"},
    {"E214", "A time window is not understood.\n\n"
	     "It is days, hours and zone: \"Mon-Fri 07:00-19:00 Europe/Berlin\". Days are Mon, "
	     "Mon-Fri, Fri-Mon or\n"
	     "Mon,Wed,Fri-Sat. The start is in, the end is out; 24:00 may end; an end before the "
	     "start runs over\n"
	     "midnight and belongs to the day it starts on. The zone is an IANA name or UTC and "
	     "must be there.\n"},
    {"E215", "A date is not understood.\n\n"
	     "Dates are written \"2027-06-30\", and the day must exist. They are days in UTC, both "
	     "included.\n"},
    {"E216", "A rule expires before it begins.\n\n"
	     "It could never match. \"since\" and \"expires\" are both included, so they may be "
	     "the same day.\n"},
    {"E217", "A limit is not understood.\n\n"
	     "Counts are plain numbers from 1. Quantities are strings with a unit: \"8 h\" (ms s "
	     "min h d),\n"
	     "\"10 /s\" (/s /min), \"200 Mbit/s\" (bit/s kbit/s Mbit/s Gbit/s). Nothing may be "
	     "zero: leave the key\n"
	     "out instead.\n"},
    {"E218", "This cannot stand here.\n\n"
	     "\"any\" means different things in \"from\" and in \"to\", so it stands in rules "
	     "only. \"file:\" and\n"
	     "\"unix:\" stand in objects only, so that they have a name. Services and times have "
	     "no tables.\n"},
    {"E219", "Two keys or values contradict each other.\n\n"
	     "\"auth\" asks for an identity, which who = \"anyone\" does not; \"anyone\" and "
	     "\"known\" stand alone;\n"
	     "\"resolves-in\" says where an allowed name may lead and has no meaning in a deny "
	     "rule; \"egress\" is one\n"
	     "address a family; only names are resolved.\n"},
    {"E220", "A line of a table is wrong.\n\n"
	     "A table (\"file:...\") holds one prefix, plain host pattern or user a line, all of "
	     "the kind of its\n"
	     "object. Blank lines and comments behind # are passed over. One bad line is an error: "
	     "a feed that is\n"
	     "half read is worse than the old one.\n"},
    {"E221",
     "A rule would make the server an open proxy.\n\n"
     "The rule allows clients without identity, its \"from\" confines nobody (it is absent, any, "
     "public, or\n"
     "has a prefix shorter than /8, for IPv6 /16), and they can reach it over a listener that is "
     "not\n"
     "loopback. Name the clients, ask for an identity, or say open-proxy = true if it is meant.\n"},
    {"E222", "There is no rule.\n\n"
	     "A policy without rules denies everything, which nobody means. Write at least one.\n"},
    {"E223", "A rule's name is missing or doubled.\n\n"
	     "In rules: { } the key of a rule is its name, and \"name\" inside is an error. In a "
	     "list, rules: ( ),\n"
	     "each rule has its \"name\" inside.\n"},
    {"E224", "No listener has this name.\n\n"
	     "\"listener\" names listeners of the settings file. A policy that is checked by "
	     "itself knows none,\n"
	     "so there every name passes.\n"},
    {"E225", "Settings and policy stand in the wrong files.\n\n"
	     "A sallyport.conf holds the settings and either the rules themselves or policy = "
	     "\"policy.conf\",\n"
	     "never both. The policy's own file holds no settings. The server needs the file with "
	     "settings.\n"},
    {"E226", "A test cannot be run.\n\n"
	     "A test takes what explain takes: \"from\" is one address, \"to\" is host:port "
	     "([address]:port for\n"
	     "IPv6), \"user\" and \"auth\" come together, \"groups\" are Unix groups, \"resolves\" "
	     "the addresses that\n"
	     "DNS would answer, \"at\" an instant: \"2026-11-24 10:00 Europe/Berlin\".\n"},
    {"E227", "A string holds a control character.\n\n"
	     "Files may not hold them, and escapes in strings may not bring them in: texts of a "
	     "policy are shown\n"
	     "on terminals and written to logs.\n"},
    {"E228",
     "A test of the policy fails.\n\n"
     "The tests section says what the policy must do. The server does not load a policy that does\n"
     "something else. `sallyctl explain` shows for a session each rule that was passed over, and "
     "why.\n"},
    {"E290", "The policy is too large.\n\n"
	     "The compiled policy is one block of memory, of 4 GiB at most.\n"},
    {"E291", "A time zone cannot be compiled.\n\n"
	     "The system's zoneinfo (the package tzdata) lacks it or its file is damaged.\n"},
    {"W201", "A value stands twice in one set.\n"},
    {"W202", "A table is empty.\n\n"
	     "Feeds run dry, so it is no error; but a set without values matches nothing.\n"},
    {"W203", "A rule has expired.\n\n"
	     "It matches nothing any more. Give it a new date, or take it out.\n"},
    {"W204", "The review of a rule is due.\n\n"
	     "\"review\" has no effect but this warning.\n"},
    {"W205", "A destination holds special addresses too.\n\n"
	     "\"any\" leaves out loopback, link-local (where cloud metadata lives), multicast and "
	     "unspecified\n"
	     "addresses; a literal prefix means what it says. Write \"any\" or \"public\" if they "
	     "are not meant, or\n"
	     "deny them before.\n"},
    {"W206", "A key says nothing in a deny rule.\n\n"
	     "What is denied has no limits, route, egress, replies or revocation.\n"},
    {"W207", "A rule can never match.\n\n"
	     "tcp services go with connect and bind, udp services with udp-associate, which SOCKS4 "
	     "has not.\n"},
    {"W208",
     "This machine lacks something that the policy names.\n\n"
     "A check judges the files, not the machine: the policy may be meant for another one.\n"},
    {"W209", "A user has the name of a group.\n\n"
	     "In \"who\" and in groups a plain word is a user; groups of the policy are written "
	     "\"@name\".\n"},
    {"W210",
     "A word holds for others beside it.\n\n"
     "\"anyone\" holds for everybody and \"known\" for every identity that \"auth\" accepts: "
     "names beside\n"
     "them change nothing.\n"},
    {"W401",
     "A rule can never match.\n\n"
     "An earlier rule holds for every session that this one holds for, or several do so "
     "together, and the\n"
     "first match wins. Where lint finds neither a session that the rule decides nor a proof that "
     "there is\n"
     "none, it says that this is not decided.\n"},
    {"W402",
     "Two rules say the same.\n\n"
     "They hold for the same sessions and do the same; the later one never comes to its turn.\n"},
    {"W403", "Nothing uses an object.\n\n"
	     "No rule names it, nor any object that a rule names.\n"},
    {"W404",
     "A denial by name can be walked around by address.\n\n"
     "A client that asks for the name is denied; if it looks the name up itself and asks for "
     "the address,\n"
     "a later rule allows it. Deny the networks of such hosts too, or let the later rule allow "
     "names only.\n"},
    {"W405", "A regular expression is no more than a plain pattern.\n\n"
	     "\"*.a.example\" is what is below a.example, \".a.example\" also the name itself.\n"},
    {"W406",
     "A regular expression fits more than it seems to.\n\n"
     "A dot stands for any character, and .* before a name also for the end of another name: "
     "it fits\n"
     "evilexample.com as well as www.example.com.\n"},
    {"W407",
     "A rule allows without asking who it is.\n\n"
     "Only the client's address is looked at. A \"why\" in the rule puts on record that this is "
     "meant.\n"},
    {"W408",
     "A rule believes a userid.\n\n"
     "SOCKS4 clients say any userid they like. A \"why\" in the rule puts on record that this is "
     "meant.\n"},
    {"W409",
     "A rule's own keys leave nothing over.\n\n"
     "What its except and from-except take away is all that its to and from hold, so it can "
     "never\n"
     "match.\n"},
};

const char *
rules_problem_explain(const char *code)
{
	size_t i;

	for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (!strcmp(codes[i].code, code))
			return codes[i].text;
	return NULL;
}
