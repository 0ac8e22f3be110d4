"""Which zone each country, region and larger city keeps.

Source: the IANA time zone database (zone.tab and its comments); regions by ISO 3166-2. `parsed`
turns a table into look-ups; names are compared through `countries.plain_name`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

from cis_server.domain.countries import plain_name


@dataclass(frozen=True, slots=True)
class Region:
    """A state, province or territory."""

    code: str
    """Lower-case subdivision code without the country."""
    zone: str
    split: bool
    """A part of it keeps another zone; `zone` is that of most of its people."""


@dataclass(frozen=True, slots=True)
class CountryZones:
    """The zones of a country that has more than one."""

    regions: dict[str, Region]
    """By code and by name, both in plain form."""
    cities: dict[str, tuple[tuple[str, str], ...]]
    """Plain name -> (region code, zone) of each city of that name."""
    mainland: bool
    """Every region that is not listed keeps the country's main zone."""


@cache
def main_zones() -> dict[str, str]:
    """Country code -> the zone of its largest or only part."""
    zones = {}
    for entry in _entries(_MAIN_ZONES):
        area, places = entry
        for place in places:
            code, name = place.split(" ", 1)
            zones[code] = f"{area}/{name}"
    return zones


@cache
def divided_countries() -> dict[str, CountryZones]:
    """Countries with several zones, by code."""
    return {
        code: CountryZones(_regions(regions), _cities(cities), mainland)
        for code, (mainland, regions, cities) in _DIVIDED.items()
    }


def _regions(table: str) -> dict[str, Region]:
    found = {}
    for zone, places in _entries(table):
        for place in places:
            code, name = place.removeprefix("*").split(" ", 1)
            region = Region(code, zone, place.startswith("*"))
            for spelling in (code, *name.split("|")):
                found[plain_name(spelling)] = region
    return found


def _cities(table: str) -> dict[str, tuple[tuple[str, str], ...]]:
    found: dict[str, tuple[tuple[str, str], ...]] = {}
    for zone, places in _entries(table):
        for place in places:
            code, name = place.split(" ", 1)
            key = plain_name(name)
            found[key] = (*found.get(key, ()), (code, zone))
    return found


def _entries(table: str) -> list[tuple[str, list[str]]]:
    """`head: a, b` lines; an indented line goes on with the one before it."""
    lines = table.strip().replace("\n  ", " ").splitlines()
    split = (line.split(": ", 1) for line in lines)
    return [(head, [item.strip() for item in rest.split(",")]) for head, rest in split]


_MAIN_ZONES: Final = """
Africa: ao Luanda, bf Ouagadougou, bi Bujumbura, bj Porto-Novo, bw Gaborone, cd Kinshasa, cf
  Bangui, cg Brazzaville, ci Abidjan, cm Douala, dj Djibouti, dz Algiers, eg Cairo, eh El_Aaiun,
  er Asmara, et Addis_Ababa, ga Libreville, gh Accra, gm Banjul, gn Conakry, gq Malabo, gw
  Bissau, ke Nairobi, lr Monrovia, ls Maseru, ly Tripoli, ma Casablanca, ml Bamako, mr
  Nouakchott, mw Blantyre, mz Maputo, na Windhoek, ne Niamey, ng Lagos, rw Kigali, sd Khartoum,
  sl Freetown, sn Dakar, so Mogadishu, ss Juba, st Sao_Tome, sz Mbabane, td Ndjamena, tg Lome,
  tn Tunis, tz Dar_es_Salaam, ug Kampala, za Johannesburg, zm Lusaka, zw Harare
America: ag Antigua, ai Anguilla, ar Argentina/Buenos_Aires, aw Aruba, bb Barbados, bl
  St_Barthelemy, bo La_Paz, bq Kralendijk, br Sao_Paulo, bs Nassau, bz Belize, ca Toronto, cl
  Santiago, co Bogota, cr Costa_Rica, cu Havana, cw Curacao, dm Dominica, do Santo_Domingo, ec
  Guayaquil, gd Grenada, gf Cayenne, gl Nuuk, gp Guadeloupe, gt Guatemala, gy Guyana, hn
  Tegucigalpa, ht Port-au-Prince, jm Jamaica, kn St_Kitts, ky Cayman, lc St_Lucia, mf Marigot,
  mq Martinique, ms Montserrat, mx Mexico_City, ni Managua, pa Panama, pe Lima, pm Miquelon, pr
  Puerto_Rico, py Asuncion, sr Paramaribo, sv El_Salvador, sx Lower_Princes, tc Grand_Turk, tt
  Port_of_Spain, us New_York, uy Montevideo, vc St_Vincent, ve Caracas, vg Tortola, vi St_Thomas
Arctic: sj Longyearbyen
Asia: ae Dubai, af Kabul, am Yerevan, az Baku, bd Dhaka, bh Bahrain, bn Brunei, bt Thimphu, cn
  Shanghai, cy Nicosia, ge Tbilisi, hk Hong_Kong, id Jakarta, il Jerusalem, in Kolkata, iq
  Baghdad, ir Tehran, jo Amman, jp Tokyo, kg Bishkek, kh Phnom_Penh, kp Pyongyang, kr Seoul, kw
  Kuwait, kz Almaty, la Vientiane, lb Beirut, lk Colombo, mm Yangon, mn Ulaanbaatar, mo Macau,
  my Kuala_Lumpur, np Kathmandu, om Muscat, ph Manila, pk Karachi, ps Gaza, qa Qatar, sa Riyadh,
  sg Singapore, sy Damascus, th Bangkok, tj Dushanbe, tl Dili, tm Ashgabat, tw Taipei, uz
  Tashkent, vn Ho_Chi_Minh, ye Aden
Atlantic: bm Bermuda, cv Cape_Verde, fk Stanley, fo Faroe, gs South_Georgia, is Reykjavik, sh
  St_Helena
Australia: au Sydney
Europe: ad Andorra, al Tirane, at Vienna, ax Mariehamn, ba Sarajevo, be Brussels, bg Sofia, by
  Minsk, ch Zurich, cz Prague, de Berlin, dk Copenhagen, ee Tallinn, es Madrid, fi Helsinki, fr
  Paris, gb London, gg Guernsey, gi Gibraltar, gr Athens, hr Zagreb, hu Budapest, ie Dublin, im
  Isle_of_Man, it Rome, je Jersey, li Vaduz, lt Vilnius, lu Luxembourg, lv Riga, mc Monaco, md
  Chisinau, me Podgorica, mk Skopje, mt Malta, nl Amsterdam, no Oslo, pl Warsaw, pt Lisbon, ro
  Bucharest, rs Belgrade, ru Moscow, se Stockholm, si Ljubljana, sk Bratislava, sm San_Marino,
  tr Istanbul, ua Kyiv, va Vatican
Indian: cc Cocos, cx Christmas, io Chagos, km Comoro, mg Antananarivo, mu Mauritius, mv
  Maldives, re Reunion, sc Mahe, tf Kerguelen, yt Mayotte
Pacific: as Pago_Pago, ck Rarotonga, fj Fiji, fm Pohnpei, gu Guam, ki Tarawa, mh Majuro, mp
  Saipan, nc Noumea, nf Norfolk, nr Nauru, nu Niue, nz Auckland, pf Tahiti, pg Port_Moresby, pn
  Pitcairn, pw Palau, sb Guadalcanal, tk Fakaofo, to Tongatapu, tv Funafuti, vu Efate, wf
  Wallis, ws Apia
"""
"""Area: country code and place; the zone's name is area/place."""

# Regions: "zone: code name|other name", a star before regions that lie in two zones.
# Cities: "zone: region-code city", those in the smaller part of a divided region, and the largest
# cities of the country for leads whose region is not known.

_US_REGIONS: Final = """
America/New_York: ct Connecticut, de Delaware, *fl Florida, ga Georgia, me Maine, md Maryland,
  ma Massachusetts, nh New Hampshire, nj New Jersey, ny New York|New York State,
  nc North Carolina, oh Ohio, pa Pennsylvania, ri Rhode Island, sc South Carolina, vt Vermont,
  va Virginia, wv West Virginia, *mi Michigan, *in Indiana, *ky Kentucky,
  dc District of Columbia|Washington DC|Washington D C
America/Chicago: al Alabama, ar Arkansas, il Illinois, ia Iowa, *ks Kansas, la Louisiana,
  mn Minnesota, ms Mississippi, mo Missouri, *ne Nebraska, *nd North Dakota, ok Oklahoma,
  *sd South Dakota, *tn Tennessee, *tx Texas, wi Wisconsin
America/Phoenix: *az Arizona
America/Denver: co Colorado, *id Idaho, mt Montana, nm New Mexico, ut Utah, wy Wyoming
America/Los_Angeles: ca California, nv Nevada, *or Oregon, wa Washington|Washington State
America/Anchorage: *ak Alaska
Pacific/Honolulu: hi Hawaii
America/Puerto_Rico: pr Puerto Rico
America/St_Thomas: vi US Virgin Islands|Virgin Islands
Pacific/Guam: gu Guam
Pacific/Pago_Pago: as American Samoa
Pacific/Saipan: mp Northern Mariana Islands
"""

_US_CITIES: Final = """
America/New_York: ny New York, ny New York City, ny NYC, ny Brooklyn, ny Manhattan, ny Queens,
  ny Bronx, ny Buffalo, ny Rochester, ma Boston, ma Cambridge, dc Washington, dc Washington DC,
  dc Washington D C, pa Philadelphia, pa Pittsburgh, ga Atlanta, md Baltimore, nj Newark,
  nj Jersey City, nc Charlotte, nc Raleigh, nc Durham, oh Columbus, oh Cleveland, oh Cincinnati,
  va Richmond, va Virginia Beach, ri Providence, me Portland, ct Hartford, fl Miami, fl Orlando,
  fl Tampa, fl Jacksonville, fl Fort Lauderdale, fl St Petersburg, fl West Palm Beach, fl Naples,
  fl Sarasota, fl Boca Raton, fl Tallahassee, fl Gainesville, mi Detroit, mi Grand Rapids,
  mi Ann Arbor, mi Lansing, in Indianapolis, in Fort Wayne, in South Bend, in Bloomington,
  in Carmel, ky Louisville, ky Lexington, tn Knoxville, tn Chattanooga, tn Johnson City,
  tn Kingsport
America/Chicago: il Chicago, tx Houston, tx Dallas, tx Austin, tx San Antonio, tx Fort Worth,
  tx Plano, tx Irving, tx Arlington, tx Frisco, mn Minneapolis, mn St Paul, mo St Louis,
  mo Kansas City, ks Kansas City, ks Wichita, ks Overland Park, ks Topeka, wi Milwaukee,
  wi Madison, tn Nashville, tn Memphis, tn Franklin, la New Orleans, ok Oklahoma City, ok Tulsa,
  al Birmingham, al Huntsville, ar Little Rock, ia Des Moines, ne Omaha, ne Lincoln, nd Fargo,
  nd Bismarck, sd Sioux Falls, fl Pensacola, fl Panama City, fl Panama City Beach, fl Destin,
  fl Fort Walton Beach, in Gary, in Hammond, in Evansville, in Merrillville, in Valparaiso,
  in Crown Point, ky Bowling Green, ky Owensboro, ky Paducah, mi Iron Mountain, mi Menominee,
  mi Ironwood
America/Phoenix: az Phoenix, az Tucson, az Scottsdale, az Mesa, az Tempe, az Chandler,
  az Gilbert, az Flagstaff
America/Denver: co Denver, co Boulder, co Colorado Springs, ut Salt Lake City, ut Provo,
  nm Albuquerque, id Boise, id Meridian, id Idaho Falls, tx El Paso, ne Scottsbluff,
  ne Alliance, nd Dickinson, sd Rapid City, ks Goodland, or Ontario, nv West Wendover,
  az Window Rock, az Tuba City, az Kayenta
America/Los_Angeles: ca Los Angeles, ca San Francisco, ca San Diego, ca San Jose, ca Sacramento,
  ca Oakland, ca Palo Alto, ca Mountain View, ca Sunnyvale, ca Santa Monica, ca Irvine,
  ca Fresno, ca Long Beach, wa Seattle, wa Bellevue, wa Redmond, wa Spokane, wa Tacoma,
  nv Las Vegas, nv Reno, nv Henderson, or Portland, or Eugene, or Salem, or Beaverton, or Bend,
  id Coeur d'Alene, id Lewiston, id Moscow, id Post Falls
America/Anchorage: ak Anchorage, ak Fairbanks, ak Juneau
America/Adak: ak Adak
Pacific/Honolulu: hi Honolulu
"""

_AU_REGIONS: Final = """
Australia/Sydney: nsw New South Wales, act Australian Capital Territory
Australia/Melbourne: vic Victoria
Australia/Hobart: tas Tasmania
Australia/Brisbane: qld Queensland
Australia/Adelaide: sa South Australia
Australia/Darwin: nt Northern Territory
Australia/Perth: wa Western Australia
"""

_AU_CITIES: Final = """
Australia/Sydney: nsw Sydney, nsw Newcastle, nsw Wollongong, nsw Parramatta, nsw North Sydney,
  nsw Central Coast, nsw Byron Bay, act Canberra
Australia/Melbourne: vic Melbourne, vic Geelong, vic Ballarat, vic Bendigo
Australia/Hobart: tas Hobart, tas Launceston
Australia/Brisbane: qld Brisbane, qld Gold Coast, qld Sunshine Coast, qld Cairns,
  qld Townsville, qld Toowoomba, qld Mackay, qld Rockhampton
Australia/Adelaide: sa Adelaide
Australia/Broken_Hill: nsw Broken Hill
Australia/Darwin: nt Darwin, nt Alice Springs
Australia/Perth: wa Perth, wa Fremantle, wa Mandurah, wa Bunbury, wa Kalgoorlie, wa Geraldton
Australia/Eucla: wa Eucla
Australia/Lord_Howe: nsw Lord Howe Island
"""

_CA_REGIONS: Final = """
America/Toronto: *on Ontario, qc Quebec
America/Vancouver: *bc British Columbia
America/Edmonton: ab Alberta, nt Northwest Territories
America/Regina: *sk Saskatchewan
America/Winnipeg: mb Manitoba
America/Halifax: ns Nova Scotia, pe Prince Edward Island
America/Moncton: nb New Brunswick
America/St_Johns: *nl Newfoundland and Labrador|Newfoundland
America/Whitehorse: yt Yukon|Yukon Territory
America/Iqaluit: *nu Nunavut
"""

_CA_CITIES: Final = """
America/Toronto: on Toronto, on Ottawa, on Mississauga, on Brampton, on Markham, on Hamilton,
  on Waterloo, on Kitchener, on London, on Windsor, on Thunder Bay, qc Montreal, qc Quebec City,
  qc Laval, qc Gatineau
America/Winnipeg: mb Winnipeg, on Kenora, on Dryden
America/Vancouver: bc Vancouver, bc Victoria, bc Surrey, bc Burnaby, bc Richmond, bc Kelowna,
  bc Kamloops
America/Edmonton: ab Calgary, ab Edmonton, ab Lloydminster, sk Lloydminster, bc Cranbrook,
  nt Yellowknife
America/Dawson_Creek: bc Dawson Creek, bc Fort St John
America/Regina: sk Regina, sk Saskatoon
America/Halifax: ns Halifax, pe Charlottetown
America/Moncton: nb Moncton, nb Fredericton
America/St_Johns: nl St John's
America/Goose_Bay: nl Happy Valley-Goose Bay, nl Labrador City
America/Whitehorse: yt Whitehorse
America/Iqaluit: nu Iqaluit
America/Rankin_Inlet: nu Rankin Inlet
America/Cambridge_Bay: nu Cambridge Bay
"""

_BR_REGIONS: Final = """
America/Sao_Paulo: df Distrito Federal|Federal District, es Espirito Santo, go Goias,
  mg Minas Gerais, pr Parana, rj Rio de Janeiro, rs Rio Grande do Sul, sc Santa Catarina,
  sp Sao Paulo
America/Rio_Branco: ac Acre
America/Manaus: *am Amazonas
America/Porto_Velho: ro Rondonia
America/Boa_Vista: rr Roraima
America/Cuiaba: mt Mato Grosso
America/Campo_Grande: ms Mato Grosso do Sul
America/Belem: pa Para, ap Amapa
America/Araguaina: to Tocantins
America/Fortaleza: ma Maranhao, pi Piaui, ce Ceara, rn Rio Grande do Norte, pb Paraiba
America/Recife: *pe Pernambuco
America/Maceio: al Alagoas, se Sergipe
America/Bahia: ba Bahia
"""

_BR_CITIES: Final = """
America/Sao_Paulo: sp Sao Paulo, sp Campinas, rj Rio de Janeiro, df Brasilia, mg Belo Horizonte,
  pr Curitiba, rs Porto Alegre, sc Florianopolis, go Goiania
America/Manaus: am Manaus
America/Cuiaba: mt Cuiaba
America/Campo_Grande: ms Campo Grande
America/Belem: pa Belem
America/Fortaleza: ce Fortaleza, ma Sao Luis, rn Natal
America/Recife: pe Recife
America/Noronha: pe Fernando de Noronha
America/Maceio: al Maceio
America/Bahia: ba Salvador
"""

_MX_REGIONS: Final = """
America/Mexico_City: agu Aguascalientes, cam Campeche, chp Chiapas, cmx Ciudad de Mexico|CDMX,
  col Colima, dur Durango, gua Guanajuato, gro Guerrero, hid Hidalgo, jal Jalisco,
  mex Estado de Mexico|Mexico, mic Michoacan, mor Morelos, oax Oaxaca, pue Puebla,
  que Queretaro, slp San Luis Potosi, tab Tabasco, tla Tlaxcala, ver Veracruz, zac Zacatecas
America/Monterrey: coa Coahuila, nle Nuevo Leon, *tam Tamaulipas
America/Merida: yuc Yucatan
America/Cancun: roo Quintana Roo
America/Chihuahua: *chh Chihuahua
America/Hermosillo: son Sonora
America/Mazatlan: bcs Baja California Sur, *nay Nayarit, sin Sinaloa
America/Tijuana: bcn Baja California
"""

_MX_CITIES: Final = """
America/Mexico_City: cmx Mexico City, cmx Ciudad de Mexico, jal Guadalajara, jal Zapopan,
  pue Puebla, que Queretaro, gua Leon
America/Monterrey: nle Monterrey
America/Matamoros: tam Reynosa, tam Matamoros, tam Nuevo Laredo
America/Ciudad_Juarez: chh Ciudad Juarez, chh Juarez
America/Chihuahua: chh Chihuahua
America/Cancun: roo Cancun, roo Playa del Carmen
America/Merida: yuc Merida
America/Hermosillo: son Hermosillo
America/Mazatlan: sin Culiacan, sin Mazatlan, bcs La Paz, bcs Cabo San Lucas
America/Bahia_Banderas: nay Bahia de Banderas, nay Nuevo Vallarta
America/Tijuana: bcn Tijuana, bcn Mexicali, bcn Ensenada
"""

_RU_REGIONS: Final = """
Europe/Moscow: mow Moscow, mos Moscow Oblast, spe Saint Petersburg, len Leningrad Oblast,
  ta Tatarstan, niz Nizhny Novgorod Oblast, ros Rostov Oblast, kda Krasnodar Krai,
  vor Voronezh Oblast
Europe/Kaliningrad: kgd Kaliningrad Oblast
Europe/Samara: sam Samara Oblast, ud Udmurtia
Asia/Yekaterinburg: sve Sverdlovsk Oblast, che Chelyabinsk Oblast, per Perm Krai,
  ba Bashkortostan, tyu Tyumen Oblast
Asia/Omsk: oms Omsk Oblast
Asia/Novosibirsk: nvs Novosibirsk Oblast
Asia/Krasnoyarsk: kya Krasnoyarsk Krai
Asia/Irkutsk: irk Irkutsk Oblast, bu Buryatia
Asia/Yakutsk: *sa Sakha|Yakutia, amu Amur Oblast
Asia/Vladivostok: pri Primorsky Krai, kha Khabarovsk Krai
Asia/Magadan: mag Magadan Oblast
Asia/Sakhalin: sak Sakhalin Oblast
Asia/Kamchatka: kam Kamchatka Krai
"""

_RU_CITIES: Final = """
Europe/Moscow: mow Moscow, spe Saint Petersburg, ta Kazan, niz Nizhny Novgorod,
  ros Rostov-on-Don, kda Krasnodar, kda Sochi, vor Voronezh
Europe/Kaliningrad: kgd Kaliningrad
Europe/Samara: sam Samara, sam Togliatti, ud Izhevsk
Europe/Volgograd: vgg Volgograd
Europe/Saratov: sar Saratov
Asia/Yekaterinburg: sve Yekaterinburg, sve Ekaterinburg, che Chelyabinsk, per Perm, ba Ufa,
  tyu Tyumen
Asia/Omsk: oms Omsk
Asia/Novosibirsk: nvs Novosibirsk
Asia/Tomsk: tom Tomsk
Asia/Krasnoyarsk: kya Krasnoyarsk
Asia/Irkutsk: irk Irkutsk
Asia/Yakutsk: sa Yakutsk
Asia/Vladivostok: pri Vladivostok, kha Khabarovsk
"""

_ID_REGIONS: Final = """
Asia/Jakarta: jk Jakarta|DKI Jakarta, bt Banten, jb West Java|Jawa Barat,
  jt Central Java|Jawa Tengah, ji East Java|Jawa Timur, yo Yogyakarta, ac Aceh,
  su North Sumatra|Sumatera Utara, sb West Sumatra|Sumatera Barat, ri Riau, kr Riau Islands,
  ja Jambi, ss South Sumatra|Sumatera Selatan, be Bengkulu, la Lampung, bb Bangka Belitung
Asia/Pontianak: kb West Kalimantan, kt Central Kalimantan
Asia/Makassar: ba Bali, nb West Nusa Tenggara, nt East Nusa Tenggara, ks South Kalimantan,
  ki East Kalimantan, ku North Kalimantan, sa North Sulawesi, st Central Sulawesi,
  sn South Sulawesi, sg Southeast Sulawesi, sr West Sulawesi, go Gorontalo
Asia/Jayapura: ma Maluku, mu North Maluku, pa Papua, pb West Papua
"""

_ID_CITIES: Final = """
Asia/Jakarta: jk Jakarta, jk South Jakarta, ji Surabaya, jb Bandung, jb Bekasi, su Medan,
  jt Semarang, ss Palembang, bt Tangerang
Asia/Makassar: ba Denpasar, sn Makassar, ki Balikpapan, ki Samarinda
Asia/Jayapura: pa Jayapura, ma Ambon
"""

_ES_REGIONS: Final = (
    "Atlantic/Canary: cn Canary Islands|Canarias|Islas Canarias|Las Palmas|Santa Cruz de Tenerife"
)
_ES_CITIES: Final = (
    "Atlantic/Canary: cn Las Palmas, cn Las Palmas de Gran Canaria, cn Santa Cruz de Tenerife"
)
_PT_REGIONS: Final = "Atlantic/Azores: 20 Azores|Acores\nAtlantic/Madeira: 30 Madeira"
_PT_CITIES: Final = "Atlantic/Azores: 20 Ponta Delgada\nAtlantic/Madeira: 30 Funchal"
_NZ_REGIONS: Final = "Pacific/Chatham: cit Chatham Islands"
_CL_REGIONS: Final = "America/Punta_Arenas: ma Magallanes"
_CL_CITIES: Final = "America/Punta_Arenas: ma Punta Arenas\nPacific/Easter: vs Hanga Roa"
_EC_REGIONS: Final = "Pacific/Galapagos: w Galapagos"
_CD_REGIONS: Final = "Africa/Lubumbashi: hk Haut-Katanga, lu Lualaba, nk North Kivu, sk South Kivu"
_CD_CITIES: Final = "Africa/Kinshasa: kn Kinshasa\nAfrica/Lubumbashi: hk Lubumbashi, nk Goma"
_MN_REGIONS: Final = (
    "Asia/Ulaanbaatar: 1 Ulaanbaatar\nAsia/Hovd: 043 Hovd, 046 Uvs, 071 Bayan-Olgii"
)

_DIVIDED: Final[dict[str, tuple[bool, str, str]]] = {
    "us": (False, _US_REGIONS, _US_CITIES),
    "au": (False, _AU_REGIONS, _AU_CITIES),
    "ca": (False, _CA_REGIONS, _CA_CITIES),
    "br": (False, _BR_REGIONS, _BR_CITIES),
    "mx": (False, _MX_REGIONS, _MX_CITIES),
    "ru": (False, _RU_REGIONS, _RU_CITIES),
    "id": (False, _ID_REGIONS, _ID_CITIES),
    "cd": (False, _CD_REGIONS, _CD_CITIES),
    "mn": (True, _MN_REGIONS, "Asia/Ulaanbaatar: 1 Ulaanbaatar"),
    "es": (True, _ES_REGIONS, _ES_CITIES),
    "pt": (True, _PT_REGIONS, _PT_CITIES),
    "nz": (True, _NZ_REGIONS, "Pacific/Auckland: auk Auckland, wgn Wellington"),
    "cl": (True, _CL_REGIONS, _CL_CITIES),
    "ec": (True, _EC_REGIONS, "America/Guayaquil: p Quito, g Guayaquil"),
}
"""Country code -> (unlisted regions keep the main zone, regions, cities)."""
