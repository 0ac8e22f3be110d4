"""Countries and what people call them: the one table.

Codes are ISO 3166-1. Every code, English name and alias leads to one lower-case alpha-2 code.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache
from typing import Final


@lru_cache(maxsize=4096)
def country_code(text: str) -> str | None:
    """The ISO 3166-1 alpha-2 code, in lower case, of a country named by code, name or alias.

    Case, accents, points, a leading "the" and surrounding space do not matter.

    Returns:
        For example ``au`` for ``Australia``, ``AUS`` or ``au``; None when unknown.
    """
    return _codes_by_name().get(plain_name(text))


def country_name(code: str) -> str | None:
    """The English name of a lower-case alpha-2 code, or None when there is no such code."""
    return _names_by_code().get(code)


def plain_name(text: str) -> str:
    """A place name in the form that names are compared in.

    Lower case, without accents, points, apostrophes and a leading "the"; "&" reads "and", "saint"
    reads "st", and every run of other separators is one space.
    """
    letters = unicodedata.normalize("NFKD", text.casefold())
    letters = "".join(char for char in letters if not unicodedata.combining(char))
    letters = re.sub(r"[.'’`]", "", letters).replace("&", " and ").replace("ø", "o")
    words = re.sub(r"[^\w]+|_", " ", letters).split()
    if len(words) > 1 and words[0] == "the":
        del words[0]
    return " ".join("st" if word == "saint" else word for word in words)


@cache
def _names_by_code() -> dict[str, str]:
    return {line[:2]: line[7:] for line in _COUNTRIES.strip().splitlines()}


@cache
def _codes_by_name() -> dict[str, str]:
    codes: dict[str, str] = {}
    for line in _COUNTRIES.strip().splitlines():
        code, long_code, name = line.split(" ", 2)
        for spelling in (code, long_code, name):
            codes[plain_name(spelling)] = code
    for line in _ALIASES.strip().splitlines():
        code, _, spellings = line.partition(" ")
        for spelling in spellings.split(","):
            codes[plain_name(spelling)] = code
    return codes


_COUNTRIES: Final = """
ad and Andorra
ae are United Arab Emirates
af afg Afghanistan
ag atg Antigua & Barbuda
ai aia Anguilla
al alb Albania
am arm Armenia
ao ago Angola
aq ata Antarctica
ar arg Argentina
as asm American Samoa
at aut Austria
au aus Australia
aw abw Aruba
ax ala Aland Islands
az aze Azerbaijan
ba bih Bosnia & Herzegovina
bb brb Barbados
bd bgd Bangladesh
be bel Belgium
bf bfa Burkina Faso
bg bgr Bulgaria
bh bhr Bahrain
bi bdi Burundi
bj ben Benin
bl blm St Barthelemy
bm bmu Bermuda
bn brn Brunei
bo bol Bolivia
bq bes Caribbean NL
br bra Brazil
bs bhs Bahamas
bt btn Bhutan
bv bvt Bouvet Island
bw bwa Botswana
by blr Belarus
bz blz Belize
ca can Canada
cc cck Cocos (Keeling) Islands
cd cod DR Congo
cf caf Central African Republic
cg cog Congo
ch che Switzerland
ci civ Cote d'Ivoire
ck cok Cook Islands
cl chl Chile
cm cmr Cameroon
cn chn China
co col Colombia
cr cri Costa Rica
cu cub Cuba
cv cpv Cape Verde
cw cuw Curacao
cx cxr Christmas Island
cy cyp Cyprus
cz cze Czechia
de deu Germany
dj dji Djibouti
dk dnk Denmark
dm dma Dominica
do dom Dominican Republic
dz dza Algeria
ec ecu Ecuador
ee est Estonia
eg egy Egypt
eh esh Western Sahara
er eri Eritrea
es esp Spain
et eth Ethiopia
fi fin Finland
fj fji Fiji
fk flk Falkland Islands
fm fsm Micronesia
fo fro Faroe Islands
fr fra France
ga gab Gabon
gb gbr United Kingdom
gd grd Grenada
ge geo Georgia
gf guf French Guiana
gg ggy Guernsey
gh gha Ghana
gi gib Gibraltar
gl grl Greenland
gm gmb Gambia
gn gin Guinea
gp glp Guadeloupe
gq gnq Equatorial Guinea
gr grc Greece
gs sgs South Georgia & the South Sandwich Islands
gt gtm Guatemala
gu gum Guam
gw gnb Guinea-Bissau
gy guy Guyana
hk hkg Hong Kong
hm hmd Heard Island & McDonald Islands
hn hnd Honduras
hr hrv Croatia
ht hti Haiti
hu hun Hungary
id idn Indonesia
ie irl Ireland
il isr Israel
im imn Isle of Man
in ind India
io iot British Indian Ocean Territory
iq irq Iraq
ir irn Iran
is isl Iceland
it ita Italy
je jey Jersey
jm jam Jamaica
jo jor Jordan
jp jpn Japan
ke ken Kenya
kg kgz Kyrgyzstan
kh khm Cambodia
ki kir Kiribati
km com Comoros
kn kna St Kitts & Nevis
kp prk North Korea
kr kor South Korea
kw kwt Kuwait
ky cym Cayman Islands
kz kaz Kazakhstan
la lao Laos
lb lbn Lebanon
lc lca St Lucia
li lie Liechtenstein
lk lka Sri Lanka
lr lbr Liberia
ls lso Lesotho
lt ltu Lithuania
lu lux Luxembourg
lv lva Latvia
ly lby Libya
ma mar Morocco
mc mco Monaco
md mda Moldova
me mne Montenegro
mf maf Saint Martin
mg mdg Madagascar
mh mhl Marshall Islands
mk mkd North Macedonia
ml mli Mali
mm mmr Myanmar
mn mng Mongolia
mo mac Macau
mp mnp Northern Mariana Islands
mq mtq Martinique
mr mrt Mauritania
ms msr Montserrat
mt mlt Malta
mu mus Mauritius
mv mdv Maldives
mw mwi Malawi
mx mex Mexico
my mys Malaysia
mz moz Mozambique
na nam Namibia
nc ncl New Caledonia
ne ner Niger
nf nfk Norfolk Island
ng nga Nigeria
ni nic Nicaragua
nl nld Netherlands
no nor Norway
np npl Nepal
nr nru Nauru
nu niu Niue
nz nzl New Zealand
om omn Oman
pa pan Panama
pe per Peru
pf pyf French Polynesia
pg png Papua New Guinea
ph phl Philippines
pk pak Pakistan
pl pol Poland
pm spm St Pierre & Miquelon
pn pcn Pitcairn
pr pri Puerto Rico
ps pse Palestine
pt prt Portugal
pw plw Palau
py pry Paraguay
qa qat Qatar
re reu Reunion
ro rou Romania
rs srb Serbia
ru rus Russia
rw rwa Rwanda
sa sau Saudi Arabia
sb slb Solomon Islands
sc syc Seychelles
sd sdn Sudan
se swe Sweden
sg sgp Singapore
sh shn St Helena
si svn Slovenia
sj sjm Svalbard & Jan Mayen
sk svk Slovakia
sl sle Sierra Leone
sm smr San Marino
sn sen Senegal
so som Somalia
sr sur Suriname
ss ssd South Sudan
st stp Sao Tome & Principe
sv slv El Salvador
sx sxm Sint Maarten
sy syr Syria
sz swz Eswatini
tc tca Turks & Caicos Islands
td tcd Chad
tf atf French Southern Territories
tg tgo Togo
th tha Thailand
tj tjk Tajikistan
tk tkl Tokelau
tl tls East Timor
tm tkm Turkmenistan
tn tun Tunisia
to ton Tonga
tr tur Turkey
tt tto Trinidad & Tobago
tv tuv Tuvalu
tw twn Taiwan
tz tza Tanzania
ua ukr Ukraine
ug uga Uganda
um umi US minor outlying islands
us usa United States
uy ury Uruguay
uz uzb Uzbekistan
va vat Vatican City
vc vct St Vincent & the Grenadines
ve ven Venezuela
vg vgb British Virgin Islands
vi vir US Virgin Islands
vn vnm Vietnam
vu vut Vanuatu
wf wlf Wallis & Futuna
ws wsm Samoa
ye yem Yemen
yt myt Mayotte
za zaf South Africa
zm zmb Zambia
zw zwe Zimbabwe
"""
"""One country a line: alpha-2 code, alpha-3 code, English name."""

_ALIASES: Final = """
ae UAE,Emirates
au Commonwealth of Australia
ba Bosnia,Bosnia-Herzegovina
bn Brunei Darussalam
bo Plurinational State of Bolivia
br Brasil
cd Democratic Republic of the Congo,Congo-Kinshasa,Zaire
cg Republic of the Congo,Congo-Brazzaville
ch Schweiz,Suisse,Svizzera
ci Ivory Coast
cn PRC,People's Republic of China,Mainland China
cv Cabo Verde
cz Czech Republic
de Deutschland,Federal Republic of Germany
dk Danmark
es España
fi Suomi
gb UK,Great Britain,Britain,England,Scotland,Wales,Northern Ireland
gr Hellas
hk Hong Kong SAR,Hong Kong SAR China
ie Republic of Ireland,Eire
ir Islamic Republic of Iran
it Italia
jp Nippon
kr Korea,Republic of Korea
kp DPRK
la Lao PDR,Lao
md Republic of Moldova
mk Macedonia
mm Burma
mo Macao
mx México
nl Holland,Nederland
no Norge
nz Aotearoa,Aotearoa New Zealand
at Österreich
be Belgique,België
pl Polska
ps Palestinian Territories,State of Palestine
ru Russian Federation
se Sverige
sx St Maarten
sz Swaziland
sy Syrian Arab Republic
tl Timor-Leste
tr Türkiye,Turkiye
tw Taiwan Province of China
tz United Republic of Tanzania
us United States of America,U.S.,U.S.A.,America
va Vatican,Holy See
ve Bolivarian Republic of Venezuela
vn Viet Nam
"""
"""Further names, by alpha-2 code."""
